"""Trilinear interpolation: the eight voxels around a point and their weights.

A point between the outermost voxel centres and the edge of the volume, half a voxel further, is
inside the field of view, but some of its eight voxels are not there. Its weights are then scaled to
a sum of 1, and its *support*, their sum before that, says how much was there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SNAP_VOXELS = 1e-6
"""A point this close to a voxel centre counts as being on it: one entry instead of eight."""


@dataclass(frozen=True)
class Corners:
    """Weights of the voxels around points. An unused place has index 0 and weight 0."""

    indices: NDArray[np.int64]
    """Linear index `(x·ny + y)·nz + z`. Shape `[n_point, 8]`."""
    weights: NDArray[np.float64]
    """The sum of a row is 1, or 0 outside of the field of view. Shape `[n_point, 8]`."""
    support: NDArray[np.float64]
    """Share of the interpolation that the volume supports, 0 to 1. Shape `[n_point]`."""


def corners(voxels: NDArray[np.float64], matrix: tuple[int, int, int]) -> Corners:
    """The corners of fractional voxel positions `[n, 3]`. NaN is outside."""
    size = np.asarray(matrix)
    nearest = np.rint(voxels)
    at = np.where(np.abs(voxels - nearest) < SNAP_VOXELS, nearest, voxels)
    inside = np.all((at >= -0.5) & (at <= size - 0.5), axis=1)
    at = np.where(inside[:, None], at, 0.0)
    low = np.floor(at).astype(np.int64)
    upper = at - low
    indices = np.zeros((len(at), 8), np.int64)
    weights = np.zeros((len(at), 8))
    for number in range(8):
        step = np.array([number >> 2 & 1, number >> 1 & 1, number & 1])
        place = low + step
        weight = np.where(step == 1, upper, 1 - upper).prod(axis=1)
        used = inside & ((place >= 0) & (place < size)).all(axis=1) & (weight > 0)
        linear = (place[:, 0] * size[1] + place[:, 1]) * size[2] + place[:, 2]
        indices[:, number] = np.where(used, linear, 0)
        weights[:, number] = np.where(used, weight, 0.0)
    support = weights.sum(axis=1)
    scale = np.divide(1.0, support, out=np.zeros_like(support), where=support > 0)
    return Corners(indices, weights * scale[:, None], np.minimum(support, 1.0))
