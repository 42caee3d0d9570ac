"""The state from which a training resumes exactly: written whole, or not at all.

```text
OUT/checkpoint-<step>/last.safetensors   weights and both moments of AdamW
OUT/checkpoint-<step>/state.json         counters, and what has to be the same to go on
```

A checkpoint is written under another name, flushed to disk and renamed; only then is the one
before it removed. A full disk, a kill or a power cut leaves one that can be read. Draws need no
state: they are counted (`draws.py`).
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from corticast_training.errors import TrainingError

FORMAT = 1
TENSORS, SCALARS = "last.safetensors", "state.json"
NAME = re.compile(r"checkpoint-(\d{8,})")


def save_state(
    out: Path, step: int, tensors: Mapping[str, Tensor], scalars: dict[str, Any]
) -> None:
    """Writes the checkpoint of `step` and removes older ones."""
    target = out / f"checkpoint-{step:08d}"
    aside = Path(tempfile.mkdtemp(prefix=".checkpoint.", dir=out))
    try:
        written = aside / "new"
        written.mkdir()
        save_file(unshared(tensors), written / TENSORS)
        text = json.dumps({"format": FORMAT, "step": step, **scalars}, indent=1)
        (written / SCALARS).write_text(text + "\n", encoding="utf-8")
        for path in (written / TENSORS, written / SCALARS, written):
            flush(path)
        if target.exists():
            target.rename(aside / "old")
        written.rename(target)
        flush(out)
        for other in _checkpoints(out):
            if other != target:
                shutil.rmtree(other)
    except (OSError, SafetensorError) as error:
        raise TrainingError(_not_written(out, target, error)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _not_written(out: Path, target: Path, error: Exception) -> str:
    kept = last_checkpoint(out)
    what = "there is none before it" if kept is None else f"{kept.name} is kept"
    return (
        f"{target}: cannot be written: {error}; {what}. "
        "Make room on the disk and go on with --resume"
    )


def last_checkpoint(out: Path) -> Path | None:
    """The newest checkpoint below `out`, if there is one."""
    found = _checkpoints(out)
    return found[-1] if found else None


def _checkpoints(out: Path) -> list[Path]:
    found = [path for path in out.glob("checkpoint-*") if NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.partition("-")[2]))


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what `save_state` wrote."""
    try:
        scalars = json.loads((folder / SCALARS).read_text(encoding="utf-8"))
        tensors = load_file(folder / TENSORS)
    except (OSError, ValueError, SafetensorError) as error:
        raise TrainingError(f"{folder}: not a checkpoint that can be read: {error}") from error
    if not isinstance(scalars, dict) or scalars.get("format") != FORMAT:
        raise TrainingError(f"{folder}: expected a checkpoint of format {FORMAT}")
    return tensors, scalars


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes one safetensors file aside and renames it."""
    aside = path.with_name(f".{path.name}.new")
    try:
        save_file(unshared(tensors), aside, metadata)
        flush(aside)
        aside.rename(path)
    except (OSError, SafetensorError) as error:
        kept = "; the one before it is kept" if path.exists() else ""
        raise TrainingError(f"{path}: cannot be written: {error}{kept}") from error
    finally:
        aside.unlink(missing_ok=True)


def unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors without common memory, which safetensors would refuse."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        if value.untyped_storage().data_ptr() in seen:
            value = value.clone()
        seen.add(value.untyped_storage().data_ptr())
        found[name] = value
    return found


def flush(path: Path) -> None:
    """Makes a file or folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
