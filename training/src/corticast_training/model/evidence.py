"""Evidence of several windows, added up: the same filter as `models/src/evidence.rs`.

The forward recursion of a hidden Markov model (Rabiner 1989, Proc. IEEE 77:257, equation 20). Its
states are the classes and rest. A block of `block_s` on average is followed by a rest of `rest_s`,
which is followed by any class alike. Training needs it to choose the temperature, and to report
what the decoder will reach online.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# As in `models/src/evidence.rs`.
LEAST = 1e-6
REST = "rest"


@dataclass(frozen=True)
class Evidence:
    """How evidence is added up."""

    rest: int
    """Position of rest among the classes."""
    block_s: float
    """Mean length of a block."""
    rest_s: float
    """Mean length of the rest between two blocks."""
    repetition_time_s: float


def add_up(
    probabilities: Array, stimulus_time_s: Array, run: NDArray[np.int64], evidence: Evidence
) -> Array:
    """The probabilities of the classes, from all windows of the run so far.

    `probabilities` are those of each window on its own, `[..., n, n_class]`, in the order of time.
    Rest is 0 in what is returned, and the other classes sum to 1.
    """
    n, n_class = probabilities.shape[-2:]
    rest, tr_s = evidence.rest, evidence.repetition_time_s
    block_stays, rest_stays = 1 - tr_s / evidence.block_s, 1 - tr_s / evidence.rest_s
    found = np.zeros_like(probabilities)
    now = np.zeros_like(probabilities[..., 0, :])
    for k in range(n):
        passed_s = stimulus_time_s[k] - stimulus_time_s[k - 1] if k else 0.0
        if k and run[k] == run[k - 1] and abs(passed_s - tr_s) < tr_s / 2:
            rested = now[..., rest].copy()
            now = now * block_stays + (rested * (1 - rest_stays) / (n_class - 1))[..., None]
            now[..., rest] = rested * rest_stays + (1 - rested) * (1 - block_stays)
        else:
            now = np.full_like(now, 1 / n_class)
        now = now * np.maximum(probabilities[..., k, :], LEAST)
        now /= now.sum(axis=-1, keepdims=True)
        shown = now.copy()
        shown[..., rest] = 0
        found[..., k, :] = shown / shown.sum(axis=-1, keepdims=True)
    return found
