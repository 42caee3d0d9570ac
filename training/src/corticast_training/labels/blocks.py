"""Blocks: which event a window belongs to.

A window belongs to the event whose `[onset, onset + duration)` holds its stimulus time; the
delay of the BOLD response is already in that time. Windows outside of events are not used.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.data.table import is_missing, read_table
from corticast_training.errors import TrainingError

# Times are multiples of a TR and onsets are decimals: 3 × 0.8 s is not 2.4 s in binary.
TOLERANCE_S = 1e-6


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


@dataclass(frozen=True)
class Chosen:
    """Which events are blocks, and how long they are."""

    target: str
    """Column of `events.tsv` with the classes."""
    classes: frozenset[str] | None = None
    """The classes that are meant; None: all."""
    duration_s: float | None = None
    """Length of an event whose duration is 0 or `n/a`."""


def read_blocks(path: Path, chosen: Chosen | str) -> list[Block]:
    """Reads the events of a BIDS `events.tsv` that are blocks. A name stands for its column.

    A row without an onset is left out, and a duration of `n/a` is 0, as the daemon reads them.
    Raises `TrainingError` for a missing column, a time that is not a number, or blocks that
    overlap: a volume can have only one label.
    """
    if isinstance(chosen, str):
        chosen = Chosen(chosen)
    blocks = []
    for row in read_table(path, ("onset", "duration", chosen.target)):
        label = row.cells[chosen.target]
        if is_missing(label) or (chosen.classes is not None and label not in chosen.classes):
            continue
        onset_s = row.seconds(path, "onset")
        duration_s = row.seconds(path, "duration") or 0.0
        if duration_s < 0:
            raise TrainingError(
                f"{path}:{row.line}: duration is {duration_s}, expected 0 s or more"
            )
        if duration_s == 0 and chosen.duration_s is not None:
            duration_s = chosen.duration_s
        if onset_s is not None:
            blocks.append(Block(onset_s=onset_s, duration_s=duration_s, label=label))

    blocks.sort(key=lambda block: block.onset_s)
    _refuse_overlap(path, blocks)
    return blocks


def _refuse_overlap(path: Path, blocks: list[Block]) -> None:
    # An instant, e.g. a key that was pressed within a block, labels no volume.
    lasting = [block for block in blocks if block.duration_s > 0]
    for before, after in itertools.pairwise(lasting):
        if before.holds(after.onset_s):
            found = ",".join(sorted({block.label for block in lasting}))
            raise TrainingError(
                f"{path}: {after.label!r} at {after.onset_s} s starts before {before.label!r} "
                f"of {before.onset_s} s ends, expected blocks that do not overlap; name the "
                f"classes that are meant with --classes, found {found}"
            )


def block_of_each(stimulus_time_s: NDArray[np.float64], blocks: list[Block]) -> NDArray[np.int64]:
    """Position in `blocks` of each time, -1 outside of them. Shape `[n]`."""
    found = np.full(len(stimulus_time_s), -1, dtype=np.int64)
    for position, block in enumerate(blocks):
        end_s = block.onset_s + block.duration_s
        after = stimulus_time_s >= block.onset_s - TOLERANCE_S
        found[after & (stimulus_time_s < end_s - TOLERANCE_S)] = position
    return found
