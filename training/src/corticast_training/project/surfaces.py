"""Vertices of surfaces, from GIFTI files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.gifti.gifti import GiftiImage
from numpy.typing import NDArray

from corticast_training.errors import TrainingError
from corticast_training.project.features import Features, one_point_each
from corticast_training.project.space import apply

POINTSET = 1008
"""NIFTI_INTENT_POINTSET: https://nifti.nimh.nih.gov/nifti-1/documentation/nifti1fields"""
STRUCTURE = "AnatomicalStructurePrimary"
STRUCTURES = {
    "CortexLeft": "CIFTI_STRUCTURE_CORTEX_LEFT",
    "CortexRight": "CIFTI_STRUCTURE_CORTEX_RIGHT",
    "Cerebellum": "CIFTI_STRUCTURE_CEREBELLUM",
}
"""Names of GIFTI files and of CIFTI files."""
SHIFT = ("VolGeomC_R", "VolGeomC_A", "VolGeomC_S")
"""FreeSurfer's coordinates start at this point; a surface in scanner coordinates has 0 here."""


@dataclass(frozen=True)
class Surface:
    """Vertices in RAS+ mm, `[n, 3]`, and the structure, as CIFTI names it, if the file says so."""

    path: Path
    vertices_mm: NDArray[np.float64]
    structure: str | None
    shift_mm: NDArray[np.float64]
    """FreeSurfer's origin; not 0 where the vertices may not be in scanner coordinates."""


def read_surface(path: Path) -> Surface:
    """Reads the vertices of a `.surf.gii`."""
    image = load(path, GiftiImage, "a surface, .surf.gii")
    found = [array for array in image.darrays if array.intent == POINTSET]
    if len(found) != 1:
        raise TrainingError(
            f"{path}: {len(found)} arrays of points, expected 1; is it a surface, .surf.gii, "
            "and not values on one?"
        )
    vertices = np.asarray(found[0].data, np.float64)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not len(vertices):
        raise TrainingError(f"{path}: points have shape {list(vertices.shape)}, expected [n, 3]")
    if not np.isfinite(vertices).all():
        raise TrainingError(f"{path}: holds NaN or Inf, expected coordinates in mm")
    meta = {**dict(image.meta), **dict(found[0].meta)}
    try:
        shift = np.array([float(meta.get(name, 0)) for name in SHIFT])
    except ValueError as error:
        raise TrainingError(f"{path}: {error}, expected numbers in {' '.join(SHIFT)}") from error
    to_scanner, known = _to_scanner(found[0])
    structure = STRUCTURES.get(meta.get(STRUCTURE, ""))
    return Surface(path, apply(to_scanner, vertices), structure, shift * (not known))


def _to_scanner(array: Any) -> tuple[NDArray[np.float64], bool]:
    """The way from the array's space to the scanner's, and whether the file says that it is one.

    FreeSurfer writes coordinates of its own space, and a matrix that leads to the scanner's.
    """
    scanner = nibabel.nifti1.xform_codes.code["NIFTI_XFORM_SCANNER_ANAT"]
    system = array.coordsys
    if system is None or system.xform is None or system.xformspace != scanner:
        return np.eye(4), False
    if system.dataspace == scanner:
        return np.eye(4), True
    return np.asarray(system.xform, np.float64), True


def read_surfaces(paths: Sequence[Path], pial: Sequence[Path]) -> list[Surface]:
    """Reads surfaces; with `pial`, `paths` are white surfaces, and the vertices lie half way."""
    inner = [read_surface(path) for path in paths]
    if not pial:
        return inner
    outer = [read_surface(path) for path in pial]
    if len(outer) != len(inner):
        raise TrainingError(
            f"{len(outer)} pial surfaces, expected {len(inner)}: one for each --surface"
        )
    found = []
    for white, other in zip(inner, outer, strict=True):
        if len(white.vertices_mm) != len(other.vertices_mm):
            raise TrainingError(
                f"{other.path}: {len(other.vertices_mm)} vertices, expected the "
                f"{len(white.vertices_mm)} of {white.path}"
            )
        if white.structure != other.structure:
            raise TrainingError(
                f"{other.path}: is of {other.structure}, expected {white.structure} as "
                f"{white.path}; give --surface and --pial in the same order"
            )
        half = (white.vertices_mm + other.vertices_mm) / 2
        found.append(Surface(white.path, half, white.structure, white.shift_mm))
    return found


def all_vertices(surfaces: Sequence[Surface]) -> Features:
    """Every vertex of the surfaces, one after the other."""
    groups, start = [], 0
    for surface in surfaces:
        stop = start + len(surface.vertices_mm)
        groups.append((surface.structure or surface.path.name, start, stop))
        start = stop
    return one_point_each("vertices", np.concatenate([s.vertices_mm for s in surfaces]), groups)


def load(path: Path, kind: type, expected: str) -> Any:
    """An image of nibabel's type `kind`; `expected` names it in messages."""
    if not path.is_file():
        raise TrainingError(f"{path}: missing")
    with parsing(path, expected):
        image = nibabel.load(path)
    if not isinstance(image, kind):
        raise TrainingError(f"{path}: is {type(image).__name__}, expected {expected}")
    return image


@contextmanager
def parsing(path: Path, expected: str) -> Iterator[None]:
    """Turns what nibabel's parsers stumble over, in KeyError and TypeError too, into a message."""
    try:
        yield
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise TrainingError(f"{path}: cannot be read, expected {expected}: {what}") from error
