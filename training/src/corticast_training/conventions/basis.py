"""Drift bases and haemodynamic responses of SPM, nilearn and nipype."""

from math import floor, gamma

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def n_cosine(n_volume: int, repetition_time_s: float, high_pass_s: float) -> int:
    """Cosines that SPM and nilearn regress out, without the constant; nipype takes one less.

    `spm_filter.m`: fix(2·n·TR/H + 1) columns, the first of them the constant.
    """
    return min(n_volume - 1, floor(2 * n_volume * repetition_time_s / high_pass_s))


def cosine_drift(n_volume: int, n: int) -> Floats:
    """The first `n` cosines after the constant, each of length 1. Shape `[n_volume, n]`."""
    volume = np.arange(n_volume)[:, None] + 0.5
    waves = np.cos(np.pi / n_volume * volume * np.arange(1, n + 1))
    return np.asarray(np.sqrt(2 / n_volume) * waves, np.float64)


def spm_response(times_s: Floats) -> Floats:
    """SPM's double gamma at times after the onset, not scaled to a sum.

    `spm_hrf.m`: gamma densities of shape 6 and 16 and scale 1 s, the second divided by 6.
    """
    return _density(times_s, 6.0) - _density(times_s, 16.0) / 6


def nilearn_response(
    repetition_time_s: float, oversampling: int = 50, length_s: float = 32.0
) -> Floats:
    """What nilearn calls SPM's response: late by one step, a ratio of .167, a sum of 1.

    Its steps are `TR / oversampling`, but for the grid, which has both ends in as many points.
    """
    step = repetition_time_s / oversampling
    times = np.linspace(0, length_s, int(np.rint(length_s / step))) - step
    response = _density(times, 6.0) - 0.167 * _density(times, 16.0)
    return np.asarray(response / response.sum(), np.float64)


def _density(times_s: Floats, shape: float) -> Floats:
    """The gamma density of scale 1 s; 0 before the onset."""
    t = np.maximum(times_s, 0.0)
    return np.asarray(t ** (shape - 1) * np.exp(-t) / gamma(shape), np.float64)
