"""The report of `voxels`: a table of every tested voxel, and a picture of the slices."""

from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray

from corticast_training.data.reliability import Reliability

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLUMNS = ("x", "y", "z", "r", "t", "p", "p_corrected", "selected")
MAX_SLICES = 24


def write_table(
    path: Path, inside: NDArray[np.bool_], found: Reliability, selected: NDArray[np.bool_]
) -> None:
    """A TSV row a tested voxel; x, y, z are its indices in the volume."""
    r, at = found.r, np.argwhere(inside)
    lines = ["\t".join(COLUMNS)]
    for voxel in np.flatnonzero(found.tested):
        x, y, z = at[voxel]
        numbers = (r[voxel], found.t[voxel], found.p[voxel], found.p_corrected[voxel])
        text = "\t".join(f"{number:.6g}" for number in numbers)
        lines.append(f"{x}\t{y}\t{z}\t{text}\t{int(selected[voxel])}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw_slices(
    path: Path,
    inside: NDArray[np.bool_],
    found: Reliability,
    selected: NDArray[np.bool_],
    affine: NDArray[np.float64],
    title: str,
) -> None:
    """Axial slices as PNG: mean r in colour, outlines of the selected voxels, front up."""
    r = np.full(inside.shape, np.nan)
    r[inside] = found.r
    chosen = np.zeros(inside.shape)
    chosen[inside] = selected
    used = np.flatnonzero(inside.any(axis=(0, 1)))
    used = used[np.unique(np.linspace(0, len(used) - 1, min(len(used), MAX_SLICES)).astype(int))]
    n_column = min(len(used), 6)
    n_row = -(-len(used) // n_column)
    limit = max(0.1, float(np.nanquantile(np.abs(found.r), 0.995)))
    figure, axes = plt.subplots(
        n_row,
        n_column,
        figsize=(2.1 * n_column, 2.4 * n_row + 0.5),
        squeeze=False,
        layout="constrained",
    )
    size = np.linalg.norm(affine[:3, :3], axis=0)
    for axis, number in zip(axes.ravel(), used, strict=False):
        image = axis.imshow(
            r[:, :, number].T,
            origin="lower",
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            aspect=float(size[1] / size[0]),
        )
        if chosen[:, :, number].any():
            axis.contour(chosen[:, :, number].T, levels=[0.5], colors="black", linewidths=0.9)
        axis.set_title(f"z = {number}", fontsize=8)
    for axis in axes.ravel():
        axis.axis("off")
    figure.suptitle(title, fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.7, label="inter-repetition r")
    aside = path.with_name(f".part.{path.name}")
    try:
        figure.savefig(aside, dpi=110, format="png")
        aside.replace(path)
    finally:
        plt.close(figure)
        aside.unlink(missing_ok=True)
