"""Vertices of surfaces (GIFTI), and the vertices, voxels and parcels of CIFTI files.

A CIFTI file says which vertices of a surface its rows belong to, but not where they are: the
surfaces come from GIFTI files of the same mesh, and the number of vertices is compared.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import nibabel
import numpy as np
from nibabel.cifti2.cifti2_axes import BrainModelAxis, LabelAxis, ParcelsAxis
from nibabel.filebasedimages import ImageFileError
from nibabel.gifti.gifti import GiftiImage
from numpy.typing import NDArray

from corticast_training.errors import TrainingError
from corticast_training.project.features import Features, means, one_point_each
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
    image = _load(path, GiftiImage, "a surface, .surf.gii")
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


def is_cifti(path: Path) -> bool:
    """Whether the name is one of a CIFTI file: two endings, as `.dscalar.nii`."""
    kinds = (".dscalar", ".dlabel", ".dtseries", ".dconn", ".pscalar", ".plabel", ".ptseries")
    return path.name.endswith(tuple(f"{kind}.nii" for kind in kinds))


def read_cifti(path: Path, surfaces: Sequence[Surface]) -> Features:
    """The rows of a CIFTI file: grayordinates, or parcels (`.pscalar.nii` and others)."""
    image = _load(path, nibabel.Cifti2Image, "a CIFTI file")
    axes = [image.header.get_axis(number) for number in range(image.ndim)]
    for axis in axes:
        if isinstance(axis, BrainModelAxis):
            points, groups = _grayordinates(path, axis, surfaces)
            return one_point_each("grayordinates", points, groups)
        if isinstance(axis, ParcelsAxis):
            return _parcels(path, axis, surfaces)
    kinds = ", ".join(type(axis).__name__ for axis in axes)
    raise TrainingError(f"{path}: has axes {kinds}, expected one of brain models or of parcels")


def read_dlabel(path: Path, surfaces: Sequence[Surface]) -> Features:
    """A parcel for each label of a `.dlabel.nii` but 0, in ascending order of the labels."""
    image = _load(path, nibabel.Cifti2Image, "a CIFTI file")
    axes = [image.header.get_axis(number) for number in range(image.ndim)]
    labels, models = axes[0], axes[-1]
    if not isinstance(labels, LabelAxis) or not isinstance(models, BrainModelAxis):
        kinds = ", ".join(type(axis).__name__ for axis in axes)
        raise TrainingError(
            f"{path}: has axes {kinds}, expected labels of brain models, .dlabel.nii; "
            "--cifti takes the rows of other CIFTI files"
        )
    if len(labels) != 1:
        maps = ", ".join(str(name) for name in labels.name[:5])
        raise TrainingError(f"{path}: {len(labels)} maps ({maps}), expected 1")
    points, _ = _grayordinates(path, models, surfaces)
    found = np.rint(np.asarray(image.dataobj, np.float64)[0]).astype(np.int64)
    numbers = [number for number in np.unique(found) if number]
    if not numbers:
        raise TrainingError(f"{path}: every label is 0, expected labels of parcels")
    table = labels.label[0]
    names = [str(table[n][0]) if n in table else f"label {n}" for n in map(int, numbers)]
    return means(names, [np.flatnonzero(found == number) for number in numbers], points)


def _grayordinates(
    path: Path, axis: Any, surfaces: Sequence[Surface]
) -> tuple[NDArray[np.float64], list[tuple[str, int, int]]]:
    """The points of an axis of brain models, and its structures."""
    points = np.full((len(axis), 3), np.nan)
    groups = []
    for name, rows, model in axis.iter_structures():
        start, stop, _ = rows.indices(len(axis))
        groups.append((str(name), start, stop))
        if model.surface_mask.all():
            vertices = _of(path, name, axis.nvertices[name], surfaces)
            points[start:stop] = vertices[_checked(path, name, model.vertex, len(vertices))]
        else:
            points[start:stop] = apply(np.asarray(axis.affine, np.float64), model.voxel)
    return points, groups


def _parcels(path: Path, axis: Any, surfaces: Sequence[Surface]) -> Features:
    members, points, start = [], [], 0
    for name, voxels, vertices in zip(axis.name, axis.voxels, axis.vertices, strict=True):
        own = []
        if len(voxels):
            own.append(apply(np.asarray(axis.affine, np.float64), voxels.astype(np.float64)))
        for structure, numbers in vertices.items():
            found = _of(path, structure, axis.nvertices[structure], surfaces)
            own.append(found[_checked(path, structure, numbers, len(found))])
        n = sum(len(some) for some in own)
        if not n:
            raise TrainingError(f"{path}: parcel {name} is empty, expected voxels or vertices")
        points += own
        members.append(np.arange(start, start + n))
        start += n
    return means([str(name) for name in axis.name], members, np.concatenate(points))


def _of(
    path: Path, structure: str, n_vertex: int, surfaces: Sequence[Surface]
) -> NDArray[np.float64]:
    found = [surface for surface in surfaces if surface.structure == structure]
    if len(found) != 1:
        given = ", ".join(f"{s.path} ({s.structure or 'unnamed'})" for s in surfaces) or "none"
        raise TrainingError(
            f"{path}: has vertices of {structure}, and {len(found)} of the surfaces are of it "
            f"({given}), expected 1: give it with --surface; its metadata must name "
            f"{STRUCTURE} (`wb_command -set-structure` writes it)"
        )
    vertices = found[0].vertices_mm
    if len(vertices) != n_vertex:
        raise TrainingError(
            f"{found[0].path}: {len(vertices)} vertices, expected the {n_vertex} that {path} has "
            f"for {structure}: take the surface of the same mesh"
        )
    return vertices


def _checked(
    path: Path, structure: str, numbers: NDArray[np.int64], n_vertex: int
) -> NDArray[np.int64]:
    if numbers.min(initial=0) < 0 or numbers.max(initial=0) >= n_vertex:
        raise TrainingError(
            f"{path}: vertex {int(numbers.max())} of {structure}, expected 0 to {n_vertex - 1}"
        )
    return numbers


def _load(path: Path, kind: type, expected: str) -> Any:
    if not path.is_file():
        raise TrainingError(f"{path}: missing")
    try:
        image = nibabel.load(path)
    except (ImageFileError, ExpatError, OSError, EOFError, zlib.error, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read, expected {expected}: {error}") from error
    if not isinstance(image, kind):
        raise TrainingError(f"{path}: is {type(image).__name__}, expected {expected}")
    return image
