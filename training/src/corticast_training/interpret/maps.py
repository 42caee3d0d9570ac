"""Maps: a value per voxel as NIfTI in the mask's space, and as slices in a PNG."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from corticast_training.data.nifti import read_map, write_map
from corticast_training.errors import TrainingError

Array = NDArray[np.float32]
MAX_SLICES = 12
AFFINE_TOLERANCE_MM = 1e-3


def read_mask(
    path: Path, prepared: dict[str, Any]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """The mask `[X, Y, Z]` and its affine, checked against what `corticast prepare` used.

    Voxels are in the order `(x·Y + y)·Z + z`, as in the daemon and in NumPy.
    """
    if not path.is_file():
        raise TrainingError(f"{path}: missing, expected the mask of the prepared runs (--mask)")
    values, affine = read_map(path)
    mask = values > 0
    if list(mask.shape) != list(prepared["matrix"]) or int(mask.sum()) != prepared["n_voxel"]:
        raise TrainingError(
            f"{path}: {int(mask.sum())} voxels of {list(mask.shape)}, the runs were prepared with "
            f"{prepared['n_voxel']} of {prepared['matrix']}"
        )
    given = np.asarray(prepared["affine"], dtype=np.float64)
    if not np.allclose(affine[: len(given)], given[:4], atol=AFFINE_TOLERANCE_MM):
        raise TrainingError(f"{path}: its affine differs from that of the prepared runs")
    return mask, affine


def volume_of(values: Array, mask: NDArray[np.bool_]) -> Array:
    """Values `[V]` in their places, NaN elsewhere."""
    volume = np.full(mask.shape, np.nan, np.float32)
    volume[mask] = values
    return volume


def write_nifti(path: Path, values: Array, mask: NDArray[np.bool_], affine: Any) -> None:
    """One map; 0 outside the mask, as viewers expect."""
    write_map(path, np.nan_to_num(volume_of(values, mask)), affine)


def draw_slices(
    path: Path,
    maps: dict[str, Array],
    mask: NDArray[np.bool_],
    title: str,
    limits: tuple[float, float],
    colours: str = "viridis",
) -> None:
    """One row per map, axial slices from bottom to top, seen from below (left is right).

    Slices without a voxel of the mask are left out.
    """
    occupied = np.flatnonzero(mask.any((0, 1)))
    shown = occupied[
        np.unique(np.linspace(0, len(occupied) - 1, min(MAX_SLICES, len(occupied))).astype(int))
    ]
    figure = Figure(figsize=(1.1 * len(shown) + 1.6, 1.25 * len(maps) + 0.5), dpi=110)
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(len(maps), len(shown), squeeze=False)
    drawn = None
    for row, (name, values) in zip(axes, maps.items(), strict=True):
        volume = volume_of(values, mask)
        for axis, z in zip(row, shown, strict=True):
            drawn = axis.imshow(
                volume[::-1, :, z].T, origin="lower", cmap=colours, vmin=limits[0], vmax=limits[1]
            )
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_facecolor("0.9")
        row[0].set_ylabel(name, fontsize=8)
    for axis, z in zip(axes[-1], shown, strict=True):
        axis.set_xlabel(f"z {z}", fontsize=7)
    if drawn is not None:
        figure.colorbar(drawn, ax=axes.ravel().tolist(), fraction=0.02, pad=0.02)
    figure.savefig(path)
