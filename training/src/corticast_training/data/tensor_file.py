"""Large tensors in safetensors files without holding them in memory.

The frames of a full data set are gigabytes: they are written clip by clip and read as a memory
map. Format: https://github.com/huggingface/safetensors, an 8-byte little-endian length, a JSON
header, then the bytes of the tensors in order.
"""

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from corticast_training.errors import TrainingError

_TYPES = {"U8": np.uint8, "I64": np.int64, "F16": np.float16, "F32": np.float32, "F64": np.float64}
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.items()}
MAX_HEADER_BYTES = 100 << 20


class TensorWriter:
    """Writes tensors of known shapes item by item along their first axis.

    The file appears under its name when all of it was written; `with` removes what is unfinished.
    """

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: Any) -> None:
        self._path, self._aside = path, path.with_name(f".{path.name}.part")
        kind = np.dtype(dtype)
        header: dict[str, Any] = {}
        start = 0
        for name, shape in shapes.items():
            end = start + int(np.prod(shape)) * kind.itemsize
            header[name] = {
                "dtype": _NAMES[kind],
                "shape": list(shape),
                "data_offsets": [start, end],
            }
            start = end
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._first_byte = 8 + len(text)
        self._dtype, self._header = kind, header
        self._written = dict.fromkeys(shapes, 0)
        self._file = self._aside.open("wb")
        self._file.write(struct.pack("<Q", len(text)) + text)

    def append(self, name: str, item: NDArray[Any]) -> None:
        """Writes the next item of tensor `name`, shape of the tensor without its first axis."""
        entry = self._header[name]
        shape, number = entry["shape"], self._written[name]
        if item.dtype != self._dtype or list(item.shape) != shape[1:] or number >= shape[0]:
            raise ValueError(
                f"{name}: item {number} is {item.dtype} {item.shape}, file has {shape}"
            )
        self._file.seek(self._first_byte + entry["data_offsets"][0] + number * item.nbytes)
        self._file.write(np.ascontiguousarray(item).tobytes())
        self._written[name] = number + 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for name, number in self._written.items():
                    if number != self._header[name]["shape"][0]:
                        raise ValueError(f"{name}: {number} items written")
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                self._aside.replace(self._path)
        finally:
            self._file.close()
            self._aside.unlink(missing_ok=True)


def map_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Memory-maps all tensors of a file, read-only."""
    if not path.is_file():
        raise TrainingError(f"{path}: missing")
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        return {name: _map(path, 8 + length, size, entry) for name, entry in header.items()}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path}: not a safetensors file: {error}") from error


def _map(path: Path, first_byte: int, size: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    dtype, shape = np.dtype(_TYPES[entry["dtype"]]), tuple(entry["shape"])
    start, end = entry["data_offsets"]
    if end - start != int(np.prod(shape)) * dtype.itemsize or not 0 <= start <= end:
        raise ValueError(f"offsets {start} to {end} do not fit the shape {shape}")
    if first_byte + end > size:
        raise ValueError(f"the file ends at byte {size}, expected {first_byte + end}")
    if start == end:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype=dtype, mode="r", offset=first_byte + start, shape=shape)
