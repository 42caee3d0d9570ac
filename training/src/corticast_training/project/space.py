"""Where the voxels of today's reference are.

What the daemon would refuse (`daemon/bold/src/space.rs`) is refused here.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.data.nifti import open_image
from corticast_training.errors import TrainingError

MAX_AXIS_VOXELS = 1024
MAX_VOLUME_VOXELS = 1 << 26
"""The daemon's limits."""
SMALLEST_DETERMINANT = 1e-9
"""Below it, an affine maps the volume to a plane."""


@dataclass(frozen=True)
class Space:
    """Voxels along x, y, z, and the affine from voxel to RAS+ mm, `[4, 4]`."""

    matrix: tuple[int, int, int]
    affine: NDArray[np.float64]

    @property
    def n_voxel(self) -> int:
        """Voxels of one volume."""
        return int(np.prod(self.matrix))

    def voxels(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fractional voxel positions of points `[n, 3]`; a voxel's centre is a whole number."""
        return apply(inverse(self.affine), points_mm)

    def millimetres(self, voxels: NDArray[np.float64]) -> NDArray[np.float64]:
        """RAS+ mm of voxel positions `[n, 3]`."""
        return apply(self.affine, voxels)


def read_space(path: Path) -> Space:
    """The space of a scan; of a run `[X, Y, Z, n_volume]`, that of each volume."""
    image = open_image(path)
    shape = tuple(int(n) for n in image.shape)
    if len(shape) not in (3, 4):
        raise TrainingError(
            f"{path}: shape is {list(shape)}, expected a volume [X, Y, Z] or a run "
            "[X, Y, Z, n_volume] of today's scan"
        )
    return space_of(path, shape, np.asarray(image.affine, np.float64))


def space_of(path: Path, shape: tuple[int, ...], affine: NDArray[np.float64]) -> Space:
    """A space whose matrix and affine the daemon would accept. `path` is for messages."""
    matrix = (shape[0], shape[1], shape[2])
    if not all(1 <= n <= MAX_AXIS_VOXELS for n in matrix) or np.prod(matrix) > MAX_VOLUME_VOXELS:
        raise TrainingError(
            f"{path}: matrix is {list(matrix)}, expected 1 to {MAX_AXIS_VOXELS} voxels along "
            f"each axis and at most {MAX_VOLUME_VOXELS} in total"
        )
    return Space(matrix, checked_affine(affine, f"{path}: the affine of the image"))


def checked_affine(affine: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """A finite affine `[4, 4]` with an inverse. `what` names it in messages."""
    if affine.shape != (4, 4):
        raise TrainingError(f"{what} has shape {list(affine.shape)}, expected 4 rows of 4 numbers")
    if not np.isfinite(affine).all():
        raise TrainingError(f"{what} holds NaN or Inf, expected finite numbers")
    if np.abs(affine[3] - (0, 0, 0, 1)).max() > 1e-9:
        row = " ".join(f"{value:g}" for value in affine[3])
        raise TrainingError(f"{what} ends with the row {row}, expected 0 0 0 1")
    determinant = float(np.linalg.det(affine[:3, :3]))
    if abs(determinant) < SMALLEST_DETERMINANT:
        raise TrainingError(
            f"{what} is singular (determinant {determinant:.3g}), expected three independent axes"
        )
    return affine


def inverse(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The way back."""
    return np.asarray(np.linalg.inv(affine), np.float64)


def apply(affine: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """`affine · [x, y, z, 1]` of points `[n, 3]`."""
    moved: NDArray[np.float64] = points @ affine[:3, :3].T + affine[:3, 3]
    return moved
