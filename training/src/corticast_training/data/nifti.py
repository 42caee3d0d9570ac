"""Writing NIfTI: int16 with a scale, the same bytes each time, aside and then renamed."""

from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

INT16_MAX = 32000


def write_bold(
    path: Path, volumes: NDArray[np.float32], affine: NDArray[np.float64], repetition_time_s: float
) -> None:
    """Writes volumes `[n_volume, X, Y, Z]` as int16 with `scl_slope`."""
    slope = max(float(np.abs(volumes).max()), 1e-6) / INT16_MAX
    stored = np.rint(np.moveaxis(volumes, 0, -1) / np.float32(slope)).astype(np.int16)
    image = nibabel.Nifti1Image(stored, affine)
    image.header.set_slope_inter(slope, 0.0)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = repetition_time_s
    _save(image, path)


def write_map(path: Path, values: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    """Writes one volume `[X, Y, Z]` in its own type."""
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    _save(image, path)


def _save(image: nibabel.Nifti1Image, path: Path) -> None:
    image.header["qform_code"] = image.header["sform_code"] = 1
    aside = path.with_name(f".part.{path.name}")
    try:
        nibabel.save(image, aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
