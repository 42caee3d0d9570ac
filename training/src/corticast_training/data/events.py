"""Events of a run: which clip was shown when."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.data.table import is_missing, read_table
from corticast_training.errors import TrainingError


def read_events(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Names `[n]` and onsets `[n]` in s of the rows that show a clip."""
    if not path.is_file():
        raise TrainingError(f"{path}: missing")
    names, onsets = [], []
    for row in read_table(path, ("onset", "clip")):
        if is_missing(row.cells["clip"]):
            continue
        onset_s = row.seconds(path, "onset")
        if onset_s is None:
            raise TrainingError(
                f"{path}:{row.line}: onset is n/a, expected seconds where a clip is shown"
            )
        names.append(row.cells["clip"])
        onsets.append(onset_s)
    return names, np.array(onsets, dtype=np.float64)
