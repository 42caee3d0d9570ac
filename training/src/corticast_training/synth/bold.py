"""BOLD of one run: the responses to its clips, convolved with the HRF, plus drift and noise.

All values are in s.d. of a voxel's signal, and are converted to scanner units at the end.
"""

import numpy as np
from scipy.signal import lfilter

from corticast_training.synth.brain import Brain
from corticast_training.synth.hrf import N_LAG, lag_weights
from corticast_training.synth.shapes import Array

SIGNAL = 0.015
"""S.d. of the signal over the baseline."""
DRIFT = 0.5
"""S.d. of slow drift over that of the signal."""
AR = 0.35
"""Of the part of the noise that remembers the volume before."""
AR_SHARE = 0.5
"""Of the noise's variance."""
RUN_LEVEL = 0.01
"""S.d. of a run's level over the baseline."""
OUTSIDE = 12.0
"""Scanner units of the noise outside the head."""


def clean_run(
    brain: Brain,
    answers: Array,
    rest_volumes: int,
    tail_volumes: int,
    repetition_time_s: float,
    clip_s: float,
) -> Array:
    """The signal without noise, `[n_volume, V]`, of a run that shows clips one after the other.

    `answers` `[n_clip, V]`; a clip lasts one TR; the run starts and ends with a blank screen.
    """
    weights = lag_weights(brain.hrf_peak_s, clip_s, repetition_time_s)
    n_clip = len(answers)
    signal = np.zeros((rest_volumes + n_clip + tail_volumes, len(brain.area)), np.float32)
    for lag in range(N_LAG):
        first = rest_volumes + lag
        n_here = max(0, min(n_clip, len(signal) - first))
        signal[first : first + n_here] += answers[:n_here] * weights[:, lag]
    return signal


def measured_run(brain: Brain, signal: Array, rng: np.random.Generator) -> Array:
    """Scanner units `[n_volume, V]`: signal, drift, noise."""
    n_volume, n_voxel = signal.shape
    t = np.linspace(-1, 1, n_volume, dtype=np.float32)
    slow = np.stack([t, np.cos(np.pi * t), np.cos(np.pi / 2 * t + 1)])
    slow = (slow - slow.mean(axis=1, keepdims=True)) / slow.std(axis=1, keepdims=True)
    drift = slow.T @ rng.normal(0, DRIFT / np.sqrt(3), (3, n_voxel)).astype(np.float32)

    driven = rng.standard_normal((n_volume + 20, n_voxel), dtype=np.float32)
    driven *= np.float32(np.sqrt(1 - AR**2))
    kept = lfilter([1.0], [1.0, -AR], driven, axis=0)[20:].astype(np.float32)
    white = rng.standard_normal((n_volume, n_voxel), dtype=np.float32)
    noise = np.float32(np.sqrt(AR_SHARE)) * kept + np.float32(np.sqrt(1 - AR_SHARE)) * white

    level = brain.baseline * (1 + RUN_LEVEL * rng.standard_normal(n_voxel, dtype=np.float32))
    change = signal + drift + noise * brain.noise
    scanned: Array = level + brain.baseline * np.float32(SIGNAL) * change
    return scanned


def volumes(brain: Brain, scanned: Array, rng: np.random.Generator) -> Array:
    """Puts voxels in their places, `[n_volume, X, Y, Z]`; outside the brain there is noise."""
    inside = brain.mask > 0
    air = rng.standard_normal((len(scanned), int((~inside).sum())), dtype=np.float32)
    filled = np.empty((len(scanned), *brain.mask.shape), np.float32)
    filled[:, inside] = scanned
    filled[:, ~inside] = np.abs(air) * np.float32(OUTSIDE)
    return filled
