"""The training clips as a library, from which a baseline takes its results.

Row k is the k-th training clip that has BOLD. Tokens and frames of a full data set are
gigabytes: they are mapped, and summed in blocks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corticast_training.baseline.ridge import Array
from corticast_training.data.movie import Movie
from corticast_training.evaluate.pixels import resized
from corticast_training.training.study import FRAME, Study

BLOCK_BYTES = 256 << 20
"""Tokens that are in memory at once, twice for inner products."""
SMALL_PX = 64
"""Edge of the frames that are averaged: a mean of many clips holds no finer detail."""


@dataclass(frozen=True)
class Library:
    """Clips, their targets and their frames."""

    clip: NDArray[np.int64]
    """`[n]`: position of each among the training clips."""
    study: Study
    movie: Movie

    def __len__(self) -> int:
        return len(self.clip)

    @property
    def segments(self) -> NDArray[np.int64]:
        """Segment of each clip, `[n]`."""
        return np.array(self.study.segments, dtype=np.int64)[self.clip]

    @property
    def labels(self) -> Array:
        """1 where the clip shows the class, `[n, 51]`."""
        return np.asarray(self.study.targets.train.labels[self.clip], dtype=np.float64)

    def caption(self, row: int) -> str:
        """What is said of a clip."""
        return self.movie.clips("train")[int(self.clip[row])].caption or ""

    def masks(self, row: int) -> NDArray[np.uint8]:
        """1 where the key object is, `[F, m, m]`."""
        return np.array(self.study.targets.train.masks[self.clip[row]])

    def frames(self, row: int) -> NDArray[np.uint8]:
        """RGB `[F, h, w, 3]`."""
        return np.array(self.movie.frames("train")[self.clip[row]])

    def small_frames(self) -> NDArray[np.uint8]:
        """RGB of all clips, `[n, F, SMALL_PX, SMALL_PX, 3]`."""
        return np.stack([resized(self.frames(k), SMALL_PX, SMALL_PX) for k in range(len(self))])

    def token_gram(self) -> Array:
        """Inner products of the clips' tokens about their mean, `[n, n]`."""
        gram = np.empty((len(self), len(self)))
        mean = self.token_sum(np.full((1, len(self)), 1 / len(self))).ravel()
        for rows in self._blocks():
            tokens = self._tokens(rows) - mean
            for others in self._blocks():
                if others.start > rows.start:
                    break
                part = tokens @ (self._tokens(others) - mean).T
                gram[rows, others], gram[others, rows] = part, part.T
        return gram

    def token_sum(self, weights: Array) -> NDArray[np.float32]:
        """Weighted sums of the clips' tokens: weights `[b, n]` → `[b, N, C]`."""
        shape = self.study.targets.train.image_tokens.shape[2:]
        total = np.zeros((len(weights), int(np.prod(shape))), dtype=np.float32)
        for rows in self._blocks():
            part = weights[:, rows]
            if part.any():
                total += part.astype(np.float32) @ self._tokens(rows)
        return total.reshape(len(weights), *shape)

    def _blocks(self) -> list[slice]:
        shape = self.study.targets.train.image_tokens.shape[2:]
        size = max(1, BLOCK_BYTES // (4 * int(np.prod(shape))))
        return [slice(first, first + size) for first in range(0, len(self), size)]

    def _tokens(self, rows: slice) -> NDArray[np.float32]:
        """Tokens of the frame that stands for its clip, `[b, N·C]`."""
        clips = self.clip[rows]
        tokens = self.study.targets.train.image_tokens[clips, FRAME]
        return np.asarray(tokens.reshape(len(clips), -1), dtype=np.float32)
