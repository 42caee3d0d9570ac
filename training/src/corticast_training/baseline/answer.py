"""The result of a baseline for one window, and the folder of results that `evaluate` reads."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tomli_w
from numpy.typing import NDArray
from safetensors.numpy import save_file

from corticast_training.baseline.bold import RunWindows
from corticast_training.baseline.ridge import Array
from corticast_training.errors import TrainingError
from corticast_training.evaluate.results import CONDITIONS, RESULTS, conditions_path
from corticast_training.labels.classes import CLASSES
from corticast_training.progress import progress

FACTS = "baseline.toml"
BLOCK = 128
"""Windows decoded at once: tokens of the whole library are read for each block."""


@dataclass(frozen=True)
class Answer:
    """What was decoded from one window; None where a baseline does not decode it."""

    tokens: NDArray[np.float32]
    """Image tokens of the frame that stands for the clip, `[N, C]`."""
    prior_tokens: NDArray[np.float32] | None = None
    """The same, sampled by a prior."""
    concepts: Array | None = None
    """Probability of each class, `[51]`."""
    caption: str | None = None
    mask: NDArray[np.uint8] | None = None
    """1 where the key object is, `[F, m, m]`."""
    frames: NDArray[np.uint8] | None = None
    """RGB `[F, h, w, 3]`."""


class Baseline(Protocol):
    """A decoder that was fitted."""

    def decode(self, windows: NDArray[np.float32]) -> list[Answer]:
        """Answers to windows `[b, D]`."""
        ...


def refuse_existing(folder: Path) -> None:
    """Raises `TrainingError` where results would be written into something else."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TrainingError(f"{folder}: exists, expected a new folder")


def write_results(
    folder: Path, baseline: Baseline, runs: Sequence[RunWindows], facts: Mapping[str, Any]
) -> int:
    """Decodes all runs into `folder`, which appears as a whole or not at all. Returns a count."""
    refuse_existing(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        # mkdtemp lets only its owner read; others evaluate these results.
        written = aside / "new"
        written.mkdir()
        n = 0
        with (written / RESULTS).open("w", encoding="utf-8") as lines:
            for run in progress(runs, len(runs), "decoding"):
                (written / CONDITIONS / run.run).mkdir(parents=True)
                for row, answer in _answers(baseline, run):
                    _write(answer, conditions_path(written / CONDITIONS, run.run, row["index"]))
                    line = row | {"concepts": _named(answer.concepts), "caption": answer.caption}
                    lines.write(json.dumps(line, ensure_ascii=False) + "\n")
                    n += 1
        (written / FACTS).write_text(tomli_w.dumps(dict(facts)), encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        written.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return n


def _answers(baseline: Baseline, run: RunWindows) -> Iterator[tuple[dict[str, Any], Answer]]:
    for first in range(0, len(run.windows), BLOCK):
        for k, answer in enumerate(baseline.decode(run.windows[first : first + BLOCK]), first):
            time_s = float(run.stimulus_time_s[k])
            yield (
                {"run": run.run, "index": int(run.index[k]), "stimulus_time_s": time_s},
                answer,
            )


def _named(concepts: Array | None) -> dict[str, float] | None:
    if concepts is None:
        return None
    return dict(zip(CLASSES, concepts.round(6).tolist(), strict=True))


def _write(answer: Answer, path: Path) -> None:
    # Without metadata: more than one entry is written in an order that changes.
    tensors: dict[str, tuple[NDArray[Any] | None, Any]] = {
        "brain_tokens": (answer.tokens, np.float16),
        "tokens": (answer.prior_tokens, np.float16),
        "probabilities": (answer.concepts, np.float32),
        "mask": (answer.mask, np.uint8),
        "frames": (answer.frames, np.uint8),
    }
    # In C order: safetensors writes other arrays as they lie, without a word.
    found = {
        name: np.ascontiguousarray(value, dtype)
        for name, (value, dtype) in tensors.items()
        if value is not None
    }
    save_file(found, path)
