"""NIfTI images: read with their shape checked, written aside and then renamed.

The same values give the same bytes: nibabel's gzip writes no time.
"""

import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from corticast_training.errors import TrainingError

INT16_MAX = 32000
DAMAGED = (OSError, EOFError, zlib.error, ValueError, OverflowError, MemoryError)
"""What reading the voxels of a damaged file raises; a damaged header may ask for all memory."""


def open_image(path: Path) -> nibabel.Nifti1Image:
    """Opens an image; its voxels are read later."""
    if not path.is_file():
        raise TrainingError(f"{path}: missing")
    try:
        image = nibabel.load(path)
    except (ImageFileError, HeaderDataError, *DAMAGED) as error:
        raise TrainingError(f"{path}: not a NIfTI image: {error}") from error
    if not isinstance(image, nibabel.Nifti1Image):
        raise TrainingError(f"{path}: is {type(image).__name__}, expected a NIfTI image")
    return image


def read_map(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """One volume `[X, Y, Z]` and its affine."""
    image = open_image(path)
    if len(image.shape) != 3:
        raise TrainingError(f"{path}: shape is {list(image.shape)}, expected one volume [X, Y, Z]")
    return _values(image, path), np.asarray(image.affine, np.float64)


def read_volumes(path: Path) -> NDArray[np.float32]:
    """All volumes of a run, `[X, Y, Z, n_volume]`."""
    image = open_image(path)
    if len(image.shape) != 4:
        raise TrainingError(
            f"{path}: shape is {list(image.shape)}, expected volumes [X, Y, Z, n_volume]"
        )
    return _values(image, path)


def _values(image: nibabel.Nifti1Image, path: Path) -> NDArray[np.float32]:
    try:
        return np.asarray(image.get_fdata(dtype=np.float32, caching="unchanged"), np.float32)
    except DAMAGED as error:
        raise TrainingError(f"{path}: damaged or cut short: {error}") from error


def write_bold(
    path: Path, volumes: NDArray[np.float32], affine: NDArray[np.float64], repetition_time_s: float
) -> None:
    """Writes volumes `[n_volume, X, Y, Z]` as int16 with `scl_slope`."""
    slope = max(float(np.abs(volumes).max()), 1e-6) / INT16_MAX
    stored = np.rint(np.moveaxis(volumes, 0, -1) / np.float32(slope)).astype(np.int16)
    image = _new_image(stored, affine)
    image.header.set_slope_inter(slope, 0.0)
    image.header["pixdim"][4] = repetition_time_s
    _save(image, path)


def write_map(path: Path, values: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    """Writes one volume `[X, Y, Z]` in its own type."""
    image = _new_image(values, affine)
    _save(image, path)


def _new_image(values: NDArray[Any], affine: NDArray[np.float64]) -> Any:
    # nibabel's constructors carry no types.
    make: Any = nibabel.Nifti1Image
    image = make(values, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["qform_code"] = image.header["sform_code"] = 1
    return image


def _save(image: Any, path: Path) -> None:
    aside = path.with_name(f".part.{path.name}")
    try:
        nibabel.save(image, aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
