"""Framewise displacement, DVARS and tSNR: ours, and those of nipype and fMRIPrep."""

import numpy as np
from numpy.typing import NDArray

HEAD_RADIUS_MM = 50.0
"""Power et al. 2012, NeuroImage 59:2142."""
Floats = NDArray[np.float64]


def framewise_displacement(motion: Floats, radius_mm: float = HEAD_RADIUS_MM) -> Floats:
    """FD in mm of rows of six parameters, shape `[n_volume, 6]`; NaN for the first volume.

    Signs do not matter, the centre of rotation does: `motion.about` exchanges it. The daemon takes
    the centre of the volume.
    """
    moved = np.abs(np.diff(motion, axis=0))
    found = moved[:, :3].sum(axis=1) + radius_mm * moved[:, 3:].sum(axis=1)
    return np.concatenate([[np.nan], found])


def dvars(signal: Floats, baseline_volumes: int) -> Floats:
    """Our DVARS of in-mask signal `[n_voxel, n_volume]`, in tenths of a percent.

    NaN for the first volume and until the baseline is complete, as `daemon/bold/src/quality.rs`.
    """
    rms = np.sqrt(np.square(np.diff(signal, axis=1)).mean(axis=0))
    found = np.concatenate([[np.nan], 1000 * rms / baseline_signal(signal, baseline_volumes)])
    found[: max(1, baseline_volumes - 1)] = np.nan
    return found


def baseline_signal(signal: Floats, baseline_volumes: int) -> float:
    """The median over the baseline of each volume's median, the upper one of an even number."""
    medians = _upper_median(signal[:, :baseline_volumes], axis=0)
    return float(_upper_median(medians, axis=0))


def from_nipype_dvars(nstd: Floats, signal: Floats, baseline_volumes: int) -> Floats:
    """Ours from `nstd` of nipype's ComputeDVARS, which is fMRIPrep's `dvars`.

    nipype scales by the median of all voxels of the whole run, which is not known during it.
    """
    scale = float(np.median(signal)) / baseline_signal(signal, baseline_volumes)
    return np.asarray(nstd * scale, np.float64)


def tsnr(signal: Floats) -> Floats:
    """Mean over the s.d. of what a line leaves, of each voxel of `[n_voxel, n_volume]`.

    The s.d. divides by n, as `TSNR` of nipype with `regress_poly = 1`.
    """
    time = np.arange(signal.shape[1]) - (signal.shape[1] - 1) / 2
    slope = signal @ time / np.square(time).sum()
    left = signal - slope[:, None] * time
    return np.asarray(left.mean(axis=1) / left.std(axis=1), np.float64)


def _upper_median(values: Floats, axis: int) -> Floats:
    middle = values.shape[axis] // 2
    return np.asarray(np.take(np.sort(values, axis=axis), middle, axis=axis), np.float64)
