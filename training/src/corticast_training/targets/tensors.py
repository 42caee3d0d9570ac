"""A safetensors file that is larger than memory, filled in place, with interruptions.

The whole file is reserved before anything is written, so a disk that is too small fails at once.
Reading is `data.tensor_file.map_tensors`.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corticast_training.data.tensor_file import map_tensors

NAMES = {
    np.dtype(np.float16): "F16",
    np.dtype(np.float32): "F32",
    np.dtype(np.int64): "I64",
    np.dtype(np.uint8): "U8",
}

Spec = tuple[type[np.generic], tuple[int, ...]]
"""Type and shape of a tensor."""


def create(path: Path, specs: Mapping[str, Spec]) -> dict[str, NDArray[Any]]:
    """Makes the file, all zero, and maps its tensors for writing."""
    header: dict[str, object] = {}
    offset = 0
    # Wide types first: every tensor starts at a multiple of its width.
    for name in sorted(specs, key=lambda name: -np.dtype(specs[name][0]).itemsize):
        dtype, shape = np.dtype(specs[name][0]), specs[name][1]
        end = offset + dtype.itemsize * math.prod(shape)
        header[name] = {
            "dtype": NAMES[dtype],
            "shape": list(shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.flush()
        # If the space were not reserved, writing to the map would kill the process on a full disk.
        os.posix_fallocate(file.fileno(), 0, 8 + len(text) + offset)
    return reopen(path)


def reopen(path: Path) -> dict[str, NDArray[Any]]:
    """Maps the tensors of an unfinished file, for writing."""
    mapped: dict[str, NDArray[Any]] = {}
    for name, tensor in map_tensors(path).items():
        mapped[name] = (
            np.memmap(path, dtype=tensor.dtype, mode="r+", offset=tensor.offset, shape=tensor.shape)
            if isinstance(tensor, np.memmap)
            else tensor
        )
    return mapped


def flush(tensors: Mapping[str, NDArray[Any]]) -> None:
    """Writes what has changed to disk."""
    for tensor in tensors.values():
        if isinstance(tensor, np.memmap):
            tensor.flush()


def write(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Writes a small file aside and renames it."""
    aside = path.with_name(f".{path.name}")
    mapped = create(
        aside, {name: (value.dtype.type, value.shape) for name, value in tensors.items()}
    )
    for name, value in tensors.items():
        mapped[name][...] = value
    flush(mapped)
    aside.rename(path)
