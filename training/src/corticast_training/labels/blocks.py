"""Blocks: which event a window belongs to.

A window belongs to the event whose `[onset, onset + duration)` holds its stimulus time; the
delay of the BOLD response is already in that time. Windows outside of events are not used.
"""

import csv
import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.errors import TrainingError

# Times are multiples of a TR and onsets are decimals: 3 × 0.8 s is not 2.4 s in binary.
TOLERANCE_S = 1e-6
NOT_A_LABEL = ("", "n/a")


@dataclass(frozen=True)
class Block:
    """One event that has a label."""

    onset_s: float
    duration_s: float
    label: str

    def holds(self, time_s: float) -> bool:
        """Whether `time_s` is within the block."""
        end_s = self.onset_s + self.duration_s
        return self.onset_s - TOLERANCE_S <= time_s < end_s - TOLERANCE_S


def read_blocks(path: Path, target: str) -> list[Block]:
    """Reads the events of a BIDS `events.tsv` that have a value in column `target`.

    Raises `TrainingError` for a missing column, a time that is not a number, or blocks that
    overlap: a volume can have only one label.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        columns = list(reader.fieldnames or [])
        for column in ("onset", "duration", target):
            if column not in columns:
                raise TrainingError(f"{path}: no column {column!r}, found {columns}")
        blocks = []
        for row in reader:
            label = (row[target] or "").strip()
            if label in NOT_A_LABEL:
                continue
            times = [_seconds(path, reader.line_num, row, name) for name in ("onset", "duration")]
            blocks.append(Block(onset_s=times[0], duration_s=times[1], label=label))

    blocks.sort(key=lambda block: block.onset_s)
    for before, after in itertools.pairwise(blocks):
        if before.holds(after.onset_s):
            raise TrainingError(
                f"{path}: {after.label!r} at {after.onset_s} s starts before {before.label!r} "
                f"of {before.onset_s} s ends, expected blocks that do not overlap"
            )
    return blocks


def block_of_each(stimulus_time_s: NDArray[np.float64], blocks: list[Block]) -> NDArray[np.int64]:
    """Position in `blocks` of each time, -1 outside of them. Shape `[n]`."""
    found = np.full(len(stimulus_time_s), -1, dtype=np.int64)
    for position, block in enumerate(blocks):
        end_s = block.onset_s + block.duration_s
        after = stimulus_time_s >= block.onset_s - TOLERANCE_S
        found[after & (stimulus_time_s < end_s - TOLERANCE_S)] = position
    return found


def _seconds(path: Path, line: int, row: dict[str, str], name: str) -> float:
    try:
        seconds = float(row[name])
    except (TypeError, ValueError):
        seconds = math.nan
    if not math.isfinite(seconds) or (name == "duration" and seconds < 0):
        raise TrainingError(f"{path}:{line}: {name} is {row[name]!r}, expected seconds")
    return seconds
