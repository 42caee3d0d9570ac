"""Events of a run: which clip was shown when."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.errors import TrainingError


def read_events(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Names `[n]` and onsets `[n]` in s of the rows that show a clip."""
    if not path.is_file():
        raise TrainingError(f"{path}: missing")
    lines = path.read_text(encoding="utf-8").splitlines()
    header = lines[0].split("\t") if lines else []
    for column in ("onset", "clip"):
        if column not in header:
            raise TrainingError(f"{path}: no column {column!r}, found {', '.join(header)}")
    onset_at, clip_at = header.index("onset"), header.index("clip")
    names, onsets = [], []
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if not line.strip() or len(cells) <= clip_at or cells[clip_at] in ("n/a", ""):
            continue
        try:
            onset = float(cells[onset_at])
        except (ValueError, IndexError):
            onset = float("nan")
        if not np.isfinite(onset):
            raise TrainingError(f"{path}, line {number}: onset is not a number of seconds")
        names.append(cells[clip_at])
        onsets.append(onset)
    return names, np.array(onsets, dtype=np.float64)
