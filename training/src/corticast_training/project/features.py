"""The features of a model: which points of its space each of them is made of.

A voxel or a vertex is one point. A parcel is the mean of its points.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.data.nifti import read_map
from corticast_training.errors import TrainingError
from corticast_training.project.space import space_of


@dataclass(frozen=True)
class Features:
    """Features in the model's order."""

    kind: str
    """`voxels`, `vertices`, `grayordinates` or `parcels`."""
    n: int
    points_mm: NDArray[np.float64]
    """RAS+ mm in the model's space. Shape `[n_point, 3]`."""
    feature: NDArray[np.int64]
    """The feature that each point belongs to. Shape `[n_point]`."""
    weights: NDArray[np.float64]
    """Weight of each point in its feature. Shape `[n_point]`."""
    groups: list[tuple[str, int, int]] = field(default_factory=list)
    """Parts that are reported apart: name, first feature, one past the last."""
    names: list[str] = field(default_factory=list)
    """Names of the parcels; empty for other kinds."""

    def name(self, number: int) -> str:
        """How a message calls a feature."""
        return self.names[number] if self.names else str(number)


def one_point_each(
    kind: str, points_mm: NDArray[np.float64], groups: list[tuple[str, int, int]]
) -> Features:
    """Features that are a point each."""
    n = len(points_mm)
    return Features(kind, n, points_mm, np.arange(n), np.ones(n), groups)


def means(
    names: list[str], members: list[NDArray[np.int64]], points_mm: NDArray[np.float64]
) -> Features:
    """Parcels, each the mean of `members` of the points."""
    feature = np.repeat(np.arange(len(members)), [len(one) for one in members])
    weights = np.concatenate([np.full(len(one), 1 / len(one)) for one in members])
    points = points_mm[np.concatenate(members)]
    return Features("parcels", len(members), points, feature, weights, names=names)


def read_mask(path: Path) -> Features:
    """The voxels of a mask that are not 0, in the daemon's order; a value is a weight."""
    values, affine = read_map(path)
    space = space_of(path, values.shape, affine)
    if not np.isfinite(values).all():
        raise TrainingError(f"{path}: holds NaN or Inf, expected a mask with finite weights")
    at = np.argwhere(values)  # the last axis fastest, as the daemon: (x·ny + y)·nz + z
    if not len(at):
        raise TrainingError(f"{path}: every voxel is 0, expected the mask of the model")
    points = space.millimetres(at.astype(np.float64))
    weights = values[tuple(at.T)].astype(np.float64)
    return Features("voxels", len(at), points, np.arange(len(at)), weights)


def read_labels(path: Path) -> Features:
    """A parcel for each label of an image that is not 0, in ascending order of the labels."""
    values, affine = read_map(path)
    space = space_of(path, values.shape, affine)
    labels = np.rint(values).astype(np.int64) if np.isfinite(values).all() else None
    if labels is None or np.abs(values - labels).max() > 1e-3:
        raise TrainingError(
            f"{path}: holds values that are no whole numbers, expected a label for each voxel; "
            "a map of probabilities has to be thresholded first"
        )
    at = np.argwhere(labels)
    if not len(at):
        raise TrainingError(f"{path}: every voxel is 0, expected labels of parcels")
    found = labels[tuple(at.T)]
    numbers = np.unique(found)
    members = [np.flatnonzero(found == number) for number in numbers]
    points = space.millimetres(at.astype(np.float64))
    return means([f"label {number}" for number in numbers], members, points)
