"""How sure an accuracy is: intervals, and what permuted labels reach.

Volumes of a block are alike, so they are no independent draws. The interval of a mean is therefore
that of the runs, each of which counts once, and labels are permuted between the blocks of a run.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from corticast_training.evaluate.decoding import accuracy

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with its standard error and 95 % interval."""

    mean: float
    standard_error: float
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"{self.mean:.3f}, s.e. {self.standard_error:.3f}, "
            f"95 % interval {self.low:.3f} to {self.high:.3f}"
        )


def of_mean(values: Sequence[float]) -> Interval:
    """Student's interval for the mean of two or more independent values."""
    mean, error = fmean(values), stdev(values) / math.sqrt(len(values))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return Interval(mean, error, mean - reach, mean + reach)


def of_share(n_right: int, n: int) -> Interval:
    """The exact interval for a share of independent draws (Clopper and Pearson 1934)."""
    share, tail = n_right / n, (1 - CONFIDENCE) / 2
    low = float(stats.beta.ppf(tail, n_right, n - n_right + 1)) if n_right else 0.0
    high = float(stats.beta.ppf(1 - tail, n_right + 1, n - n_right)) if n_right < n else 1.0
    return Interval(share, math.sqrt(share * (1 - share) / n), low, high)


@dataclass(frozen=True)
class Decoded:
    """What was decoded of one run. `n` counts its windows in blocks."""

    probabilities: NDArray[np.float64]
    """Shape `[n, n_class]`."""
    label: NDArray[np.int64]
    """Shape `[n]`: position of the class."""
    block: NDArray[np.int64]
    """Shape `[n]`: number of the block."""

    def permuted(self, rng: np.random.Generator) -> "Decoded":
        """The run with the labels of its blocks permuted."""
        blocks, first = np.unique(self.block, return_index=True)
        shuffled = rng.permutation(self.label[first])
        return Decoded(
            self.probabilities, shuffled[np.searchsorted(blocks, self.block)], self.block
        )


@dataclass(frozen=True)
class Control:
    """What permuted labels reach."""

    per_tr: float
    per_block: float
    n: int
    n_as_good: int
    """Permutations that reach at least the accuracy per block of the true labels."""


def permutation_control(runs: Sequence[Decoded], n: int, seed: int = 0) -> Control:
    """Scores the runs against `n` random orders of the labels of their blocks."""
    rng = np.random.default_rng(seed)

    def scores(decoded: Sequence[Decoded]) -> tuple[float, float]:
        found = [accuracy(run.probabilities, run.label, run.block) for run in decoded]
        return fmean(one.per_tr for one in found), fmean(one.per_block for one in found)

    _, true = scores(runs)
    permuted = [scores([run.permuted(rng) for run in runs]) for _ in range(n)]
    return Control(
        per_tr=fmean(tr for tr, _ in permuted),
        per_block=fmean(block for _, block in permuted),
        n=n,
        n_as_good=sum(block >= true - 1e-12 for _, block in permuted),
    )
