"""The haemodynamic response: a double gamma, integrated over a clip.

The shape is that of Glover 1999 (NeuroImage 9:416), a gamma-shaped rise minus a later, smaller
one. It is narrower than the canonical response (full width at half maximum about 2.8 s instead
of 5.2 s), because here every clip is a new scene: with the canonical width the responses of three
neighbouring clips would merge, and nothing could be decoded from a single volume.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

RISE_SCALE_S = 0.35
UNDERSHOOT_SCALE_S = 1.0
UNDERSHOOT_DELAY_S = 6.5
"""Peak of the undershoot after that of the rise."""
UNDERSHOOT_AREA = 0.15
N_LAG = 10
"""Volumes that a clip still reaches; 20 s later nothing is left."""


def integral(until_s: NDArray[np.float64], peak_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """The response's integral from 0 to `until_s`, for a rise that peaks at `peak_s`."""
    t = np.maximum(until_s, 0.0)
    rise: NDArray[np.float64] = gammainc(peak_s / RISE_SCALE_S + 1, t / RISE_SCALE_S)
    late: NDArray[np.float64] = gammainc(
        (peak_s + UNDERSHOOT_DELAY_S) / UNDERSHOOT_SCALE_S + 1, t / UNDERSHOOT_SCALE_S
    )
    return np.asarray(rise - UNDERSHOOT_AREA * late, dtype=np.float64)


def lag_weights(
    peak_s: NDArray[np.float64], clip_s: float, repetition_time_s: float
) -> NDArray[np.float32]:
    """What a clip contributes to its own volume and the following ones.

    `peak_s` `[V]`. A volume stands for the middle of its TR. Returns `[V, N_LAG]`, scaled to a
    sum of squares of 1, so that independent clips of unit variance give unit variance.
    """
    middle = np.asarray((np.arange(N_LAG) + 0.5) * repetition_time_s, np.float64)
    peak = peak_s[:, None]
    weights = integral(middle[None], peak) - integral(middle[None] - clip_s, peak)
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    return weights.astype(np.float32)
