"""From the model's space to today's reference, in RAS+ mm.

The transforms are applied in the order in which they were given: the first starts in the model's
space, the last ends in today's scan. This is the direction in which an image of today is resampled
to the model's space, and in which ANTs and ITK store what they find with the model's space as the
fixed image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.conventions.motion import MOTION_COLUMNS, motion_to_matrix
from corticast_training.data.nifti import DAMAGED, open_image
from corticast_training.errors import TrainingError
from corticast_training.project.space import Space, apply, checked_affine, inverse, space_of
from corticast_training.project.trilinear import corners

LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
Move = Callable[[NDArray[np.float64]], NDArray[np.float64]]
AFFINE_TEXT = "4 lines of 4 numbers, the affine in RAS+ mm"


@dataclass(frozen=True)
class Step:
    """One transform: how it was given, its file, and what it does to points `[n, 3]`."""

    kind: str
    file: Path
    move: Move


def read_steps(given: Sequence[tuple[str, Path]]) -> list[Step]:
    """Reads transforms, each a kind (a key of `READERS`) and a file."""
    return [Step(kind, path, READERS[kind](path)) for kind, path in given]


def _affine(path: Path) -> Move:
    affine = read_affine(path)
    return lambda points: apply(affine, points)


def _inverse_affine(path: Path) -> Move:
    affine = inverse(read_affine(path))
    return lambda points: apply(affine, points)


def _motion(path: Path) -> Move:
    # Motion takes today's volume to the reference, so the way back leads to today.
    affine = inverse(motion_to_matrix(read_motion(path)))
    return lambda points: apply(affine, points)


def read_affine(path: Path) -> NDArray[np.float64]:
    """Reads a 4x4 affine from text."""
    text = _text(path)
    if text.startswith("#Insight Transform File"):
        raise TrainingError(
            f"{path}: an ITK transform, in LPS, expected {AFFINE_TEXT}; convert it with "
            "`ConvertTransformFile 3 IN OUT.mat --hm --ras` of ANTs"
        )
    try:
        rows = [
            [float(word) for word in line.replace(",", " ").split()]
            for line in text.splitlines()
            if line.strip() and not line.lstrip().startswith("#")
        ]
    except ValueError as error:
        raise TrainingError(f"{path}: {error}, expected {AFFINE_TEXT}") from error
    if [len(row) for row in rows] != [4, 4, 4, 4]:
        found = ", ".join(str(len(row)) for row in rows[:6])
        raise TrainingError(
            f"{path}: {len(rows)} lines of numbers ({found} in each), expected {AFFINE_TEXT}"
        )
    return checked_affine(np.array(rows), f"{path}: the affine")


def read_motion(path: Path) -> NDArray[np.float64]:
    """Reads the six parameters of one volume from a table, in the order of `MOTION_COLUMNS`."""
    lines = [line for line in _text(path).splitlines() if line.strip()]
    names = lines[0].split("\t") if lines else []
    missing = [name for name in MOTION_COLUMNS if name not in names]
    if missing:
        raise TrainingError(
            f"{path}: no column {', '.join(missing)}, expected a table with tabs and the columns "
            f"{' '.join(MOTION_COLUMNS)}"
        )
    if len(lines) != 2:
        raise TrainingError(
            f"{path}: motion of {len(lines) - 1} volumes, expected 1; keep the header and the "
            "line of the volume that is today's reference"
        )
    words = lines[1].split("\t")
    try:
        found = np.array([float(words[names.index(name)]) for name in MOTION_COLUMNS])
    except (ValueError, IndexError) as error:
        raise TrainingError(f"{path}: {error}, expected {len(names)} numbers in line 2") from error
    if not np.isfinite(found).all():
        raise TrainingError(f"{path}: holds NaN or Inf, expected finite mm and radians")
    return found


def _text(path: Path) -> str:
    if not path.is_file():
        raise TrainingError(f"{path}: missing")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TrainingError(
            f"{path}: not text, expected {AFFINE_TEXT}; ANTs writes a binary .mat, which "
            "`ConvertTransformFile 3 IN OUT.mat --hm --ras` converts"
        ) from error


def _warp_lps(path: Path) -> Move:
    space, field = read_warp(path)
    return lambda points: warped(points, space, field * LPS_TO_RAS)


def _warp_ras(path: Path) -> Move:
    space, field = read_warp(path)
    return lambda points: warped(points, space, field)


def read_warp(path: Path) -> tuple[Space, NDArray[np.float64]]:
    """Reads a displacement field: its space, and displacements in mm as stored, `[X, Y, Z, 3]`."""
    image = open_image(path)
    shape = tuple(int(n) for n in image.shape)
    if not (shape[-1:] == (3,) and (len(shape) == 4 or (len(shape) == 5 and shape[3] == 1))):
        raise TrainingError(
            f"{path}: shape is {list(shape)}, expected a field of displacements "
            "[X, Y, Z, 1, 3] or [X, Y, Z, 3]"
        )
    space = space_of(path, shape, np.asarray(image.affine, np.float64))
    try:
        field = np.asarray(image.dataobj, np.float64).reshape(*space.matrix, 3)
    except DAMAGED as error:
        raise TrainingError(f"{path}: damaged or cut short: {error}") from error
    if not np.isfinite(field).all():
        raise TrainingError(f"{path}: holds NaN or Inf, expected finite displacements in mm")
    return space, field


def warped(
    points: NDArray[np.float64], space: Space, field: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points moved by the displacement at their place; NaN where the field has none.

    ITK takes a displacement of 0 outside of the field. That would place a feature somewhere in the
    scan, and nobody would see it.
    """
    found = corners(space.voxels(points), space.matrix)
    flat = field.reshape(-1, 3)
    displacement = np.einsum("pc,pcd->pd", found.weights, flat[found.indices])
    displacement[found.support == 0] = np.nan
    moved: NDArray[np.float64] = points + displacement
    return moved


READERS = {
    "affine": _affine,
    "inverse-affine": _inverse_affine,
    "motion": _motion,
    "warp-lps": _warp_lps,
    "warp-ras": _warp_ras,
}
