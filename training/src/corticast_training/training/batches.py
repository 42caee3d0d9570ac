"""Which samples make up a batch, and which part of it one device computes.

A batch holds the same number of samples of every subject, one subject after the other. Within
an epoch every subject goes through the clips in the same drawn order, but each starts at
another place of it: subjects in one batch then saw different clips, and no sample is a
negative of another sample of its own clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corticast_training.errors import TrainingError
from corticast_training.training.draws import generator


@dataclass(frozen=True)
class Batch:
    """The samples of one optimiser step, over all devices."""

    epoch: int
    index: int
    """Position within the epoch."""
    rows: tuple[NDArray[np.int64], ...]
    """Of each subject, the rows of its BOLD: `[B / n_subject]`."""
    clip: NDArray[np.int64]
    """Row of each sample's clip in the targets: `[B]`, subject after subject."""

    @property
    def group_sizes(self) -> list[int]:
        """Samples of each subject."""
        return [len(rows) for rows in self.rows]


class Batches:
    """The batches of every epoch."""

    def __init__(
        self, clips: Sequence[NDArray[np.int64]], *, size: int, n_part: int, seed: int, stage: str
    ) -> None:
        """`clips`: of each subject, the clip of each usable row, -1 where it is held out."""
        self.clips, self.seed, self.stage = clips, seed, stage
        n_subject = len(clips)
        if size < 1 or size % (n_subject * n_part):
            raise TrainingError(
                f"{stage}.batch is {size}, expected a multiple of {n_subject * n_part}: "
                f"{n_subject} subjects, {n_part} parts over all devices"
            )
        self.size, self.n_part = size, n_part
        self.share = size // n_subject
        fewest = min(int((clip >= 0).sum()) for clip in clips)
        if fewest < self.share:
            raise TrainingError(
                f"{stage}.batch is {size}, {self.share} of each subject, but only {fewest} clips "
                f"are there to train on: give more data or set {stage}.batch lower"
            )
        self.per_epoch = fewest // self.share

    def batch(self, epoch: int, index: int) -> Batch:
        """Batch `index` of `epoch`; a remainder that fills no batch is left out."""
        chosen = slice(index * self.share, (index + 1) * self.share)
        rows = tuple(order[chosen] for order in self._orders(epoch))
        clip = [clips[own] for clips, own in zip(self.clips, rows, strict=True)]
        return Batch(epoch, index, rows, np.concatenate(clip))

    def _orders(self, epoch: int) -> list[NDArray[np.int64]]:
        n_clip = max(int(clip.max()) for clip in self.clips) + 1
        order = generator(self.seed, self.stage, epoch, "order").permutation(n_clip)
        place = np.empty(n_clip, dtype=np.int64)
        place[order] = np.arange(n_clip)
        orders = []
        for subject, clip in enumerate(self.clips):
            usable = np.flatnonzero(clip >= 0)
            start = subject * n_clip // len(self.clips)
            orders.append(usable[np.argsort((place[clip[usable]] - start) % n_clip)])
        return orders

    def part(self, index: int) -> NDArray[np.int64]:
        """Positions within a batch that part `index` computes: as many of every subject."""
        each = self.share // self.n_part
        own = np.arange(index * each, (index + 1) * each)
        starts = np.arange(len(self.clips)) * self.share
        found: NDArray[np.int64] = (starts[:, None] + own).reshape(-1)
        return found
