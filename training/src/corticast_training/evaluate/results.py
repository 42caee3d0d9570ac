"""Results of a session: a folder that `corticast replay` or a baseline wrote, or a recording.

```text
RESULTS/results.jsonl                       run, index, stimulus_time_s, concepts, caption
RESULTS/conditions/<run>/<index>.safetensors    the tensors of a result, one file per result
```

Tensors are read and checked one file at a time, because the results of many repeats do not fit
into memory. A recording is first unpacked into the same layout.
"""

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from corticast_training.errors import TrainingError

RESULTS = "results.jsonl"
CONDITIONS = "conditions"


@dataclass(frozen=True)
class Result:
    """The decoded result for one stimulus."""

    run: str
    index: int
    """Newest volume it rests on."""
    stimulus_time_s: float
    """Since the start of the run."""
    concepts: dict[str, float] | None
    caption: str | None
    conditions: Path | None

    def tensor_names(self) -> list[str]:
        """Names of the tensors in the result's file."""
        if self.conditions is None:
            return []
        with _opened(self.conditions) as file:
            return sorted(file.keys())

    def tensor(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """Reads one tensor; -1 in `shape` is any size.

        Raises `TrainingError` on a missing tensor, another shape, NaN or Inf.
        """
        if self.conditions is None:
            raise TrainingError(f"{self.run}, volume {self.index}: no file of conditions")
        with _opened(self.conditions) as file:
            if name not in file.keys():  # noqa: SIM118
                raise TrainingError(
                    f"{self.conditions}: tensor {name!r} is missing, found {sorted(file.keys())}"
                )
            value: NDArray[Any] = file.get_tensor(name)
        fits = len(value.shape) == len(shape) and all(
            wanted in (-1, found) for found, wanted in zip(value.shape, shape, strict=True)
        )
        if not fits:
            raise TrainingError(
                f"{self.conditions}: {name!r} is {list(value.shape)}, expected {list(shape)}: "
                "were results and targets made with the same sizes?"
            )
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise TrainingError(f"{self.conditions}: {name!r} holds NaN or Inf")
        return value


def read_results(path: Path, scratch: Path) -> list[Result]:
    """Reads a folder of results, or unpacks a recording (.mcap) into `scratch` and reads that."""
    if path.suffix == ".mcap":
        unpack_recording(path, scratch)
        return _read_folder(scratch, path)
    if not path.is_dir():
        raise TrainingError(f"{path}: expected a folder with {RESULTS}, or a recording (.mcap)")
    return _read_folder(path, path)


def _read_folder(folder: Path, name: Path) -> list[Result]:
    path = folder / RESULTS
    if not path.is_file():
        raise TrainingError(
            f"{name}: no {RESULTS} in it, expected what `corticast replay --results "
            f"{name}/{RESULTS} --conditions {name}/{CONDITIONS}` writes"
        )
    results = [
        _result(line, folder / CONDITIONS, f"{path}:{number}") for number, line in _lines(path)
    ]
    if not results:
        raise TrainingError(f"{name}: no results in it, expected one line a decoded stimulus")
    return results


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path}: not text: {error}") from error


def _result(line: str, conditions: Path, where: str) -> Result:
    try:
        fields = json.loads(line)
        run, index = str(fields["run"]), int(fields["index"])
        time_s = float(fields["stimulus_time_s"])
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{where}: expected JSON with run, index and stimulus_time_s: {error!r}"
        ) from error
    concepts, caption = fields.get("concepts"), fields.get("caption")
    if not math.isfinite(time_s):
        raise TrainingError(f"{where}: stimulus_time_s is {time_s}, expected seconds")
    if concepts is not None:
        numbers = isinstance(concepts, dict) and all(
            isinstance(p, int | float) and math.isfinite(p) for p in concepts.values()
        )
        if not numbers:
            raise TrainingError(f"{where}: concepts hold NaN or no number")
    if caption is not None and not isinstance(caption, str):
        raise TrainingError(f"{where}: caption is {caption!r}, expected text")
    path = conditions_path(conditions, run, index)
    return Result(run, index, time_s, concepts or None, caption, path if path.is_file() else None)


def conditions_path(folder: Path, run: str, index: int) -> Path:
    """Path of the file with the tensors of one result."""
    return folder / run / f"{index:06d}.safetensors"


def unpack_recording(path: Path, folder: Path) -> None:
    """Writes the results and conditions of a recording as a folder of results."""
    reader, problem = import_module("mcap.reader"), import_module("mcap.exceptions").McapError
    if not path.is_file():
        raise TrainingError(f"{path}: no such file")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("rb") as recording, (folder / RESULTS).open("wb") as lines:
            topics = ["concepts", CONDITIONS]
            for _, channel, message in reader.make_reader(recording).iter_messages(topics=topics):
                if channel.topic == "concepts":
                    lines.write(message.data.strip() + b"\n")
                else:
                    _unpack_conditions(message.data, folder / CONDITIONS, path)
    except (problem, struct.error) as error:
        raise TrainingError(
            f"{path}: not a whole recording: {error!r}; `corticast recover {path}` repairs one "
            "that was cut"
        ) from error


def _unpack_conditions(content: bytes, folder: Path, recording: Path) -> None:
    try:
        (length,) = struct.unpack_from("<Q", content)
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        run, index = str(metadata["run"]), int(metadata["index"])
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{recording}: conditions are not safetensors with run and index: {error!r}"
        ) from error
    path = conditions_path(folder, run, index)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise TrainingError(f"{recording}: run {run!r} is no name of a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise TrainingError(f"{path}: not a safetensors file: {error}") from error
