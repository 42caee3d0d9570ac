"""The rows of the sparse matrix, and how much of each feature today's scan supports."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corticast_training.errors import TrainingError
from corticast_training.progress import progress
from corticast_training.project.features import Features
from corticast_training.project.space import Space
from corticast_training.project.transforms import Step
from corticast_training.project.trilinear import corners

CHUNK = 1 << 16
"""Points that are moved at once: some 20 MB."""
FULL = 1 - 1e-6
"""Support from which on a feature counts as full."""


@dataclass(frozen=True)
class Rows:
    """A sparse matrix in compressed rows, as `daemon/src/plan/mask_file.rs` reads it."""

    indptr: NDArray[np.uint32]
    indices: NDArray[np.uint32]
    weights: NDArray[np.float32]
    support: NDArray[np.float64]
    """Share of each feature's weight that lies in the field of view, 0 to 1. Shape `[n_row]`."""


def build(features: Features, steps: Sequence[Step], space: Space) -> Rows:
    """Each feature as a weighted sum of voxels.

    What lies outside of the field of view is left out, and the rest of the feature is scaled up to
    the weight of all of it. A feature that lies outside as a whole has an empty row.
    """
    n = features.n
    row, index, weight = [], [], []
    inside, total = np.zeros(n), np.zeros(n)
    kept = np.zeros(n)
    starts = range(0, len(features.points_mm), CHUNK)
    for start in progress(starts, len(starts), "points"):
        part = slice(start, start + CHUNK)
        points = features.points_mm[part]
        for step in steps:
            points = step.move(points)
        found = corners(space.voxels(points), space.matrix)
        own, size = features.feature[part], np.abs(features.weights[part])
        total += np.bincount(own, size, n)
        inside += np.bincount(own, size * found.support, n)
        kept += np.bincount(own, size * (found.support > 0), n)
        at, corner = np.nonzero(found.weights)
        row.append(own[at])
        index.append(found.indices[at, corner])
        weight.append(found.weights[at, corner] * features.weights[part][at])
    rows, indices, weights = _merged(
        np.concatenate(row), np.concatenate(index), np.concatenate(weight)
    )
    scale = np.divide(total, kept, out=np.zeros(n), where=kept > 0)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=n))))
    if indptr[-1] > np.iinfo(np.uint32).max:
        raise TrainingError(f"{indptr[-1]} entries, expected at most 4294967295")
    return Rows(
        indptr.astype(np.uint32),
        indices.astype(np.uint32),
        (weights * scale[rows]).astype(np.float32),
        inside / total,
    )


def _merged(
    rows: NDArray[np.int64], indices: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Entries by row and voxel, with those of the same voxel added up."""
    order = np.lexsort((indices, rows))
    rows, indices, weights = rows[order], indices[order], weights[order]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (np.diff(rows) != 0) | (np.diff(indices) != 0)
    first = np.flatnonzero(new)
    sums = np.add.reduceat(weights, first) if len(first) else weights
    return rows[first], indices[first], sums
