"""The vertices, voxels and parcels of CIFTI files.

A CIFTI file says which vertices of a surface its rows belong to, but not where they are: the
surfaces come from GIFTI files of the same mesh, and the number of vertices is compared.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.cifti2.cifti2_axes import BrainModelAxis, LabelAxis, ParcelsAxis
from numpy.typing import NDArray

from corticast_training.data.nifti import DAMAGED
from corticast_training.errors import TrainingError
from corticast_training.project.features import Features, means, one_point_each
from corticast_training.project.space import apply
from corticast_training.project.surfaces import STRUCTURE, Surface, load, parsing


def is_cifti(path: Path) -> bool:
    """Whether the name is one of a CIFTI file: two endings, as `.dscalar.nii`."""
    kinds = (".dscalar", ".dlabel", ".dtseries", ".dconn", ".pscalar", ".plabel", ".ptseries")
    return path.name.endswith(tuple(f"{kind}.nii" for kind in kinds))


def read_cifti(path: Path, surfaces: Sequence[Surface]) -> Features:
    """The rows of a CIFTI file: grayordinates, or parcels (`.pscalar.nii` and others)."""
    image = load(path, nibabel.Cifti2Image, "a CIFTI file")
    axes = _axes(path, image)
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
    image = load(path, nibabel.Cifti2Image, "a CIFTI file")
    axes = _axes(path, image)
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
    found = _labels(path, image, len(models))
    numbers = [number for number in np.unique(found) if number]
    if not numbers:
        raise TrainingError(f"{path}: every label is 0, expected labels of parcels")
    table = labels.label[0]
    names = [str(table[n][0]) if n in table else f"label {n}" for n in map(int, numbers)]
    return means(names, [np.flatnonzero(found == number) for number in numbers], points)


def _labels(path: Path, image: Any, n: int) -> NDArray[np.int64]:
    try:
        values = np.asarray(image.dataobj[0], np.float64)
    except DAMAGED as error:
        raise TrainingError(f"{path}: damaged or cut short: {error}") from error
    if values.shape != (n,) or not np.isfinite(values).all():
        raise TrainingError(
            f"{path}: labels have shape {list(values.shape)}, expected {n} finite numbers, one for "
            "each row of its brain models"
        )
    return np.rint(values).astype(np.int64)


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


def _axes(path: Path, image: Any) -> list[Any]:
    axes: list[Any] = []
    with parsing(path, "a CIFTI file"):
        axes += [image.header.get_axis(number) for number in range(image.ndim)]
    return axes
