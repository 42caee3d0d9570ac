"""Inter-repetition reliability: which voxels respond alike when the same movie is seen again.

Per segment and voxel the repeats' time courses are detrended and correlated; Fisher's
z = artanh(r) of all pairs of repeats is averaged. The segments' means are tested against 0 by a
one-sample t-test (Hasson et al. 2004, Science 303:1634, and Wen et al. 2018, Cereb. Cortex
28:4136, choose voxels like this), corrected for the number of voxels.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from corticast_training.choices import CORRECTIONS
from corticast_training.errors import TrainingError

MIN_SEGMENTS = 3
LARGEST_R = 1 - 1e-6
"""Correlations are cut here, so that z stays finite."""


def detrended(series: NDArray[np.float32], order: int) -> NDArray[np.float64]:
    """Removes polynomials up to `order` along axis 0 of `[n, V]`; order 0 is the mean."""
    n = len(series)
    if n < order + 3:
        raise TrainingError(
            f"{n} volumes in a segment are too few to remove a trend of order {order}, expected "
            f"at least {order + 3}: lower --detrend or take longer segments"
        )
    basis, _ = np.linalg.qr(np.polynomial.legendre.legvander(np.linspace(-1, 1, n), order))
    values = series.astype(np.float64)
    return np.asarray(values - basis @ (basis.T @ values), np.float64)


def segment_z(courses: NDArray[np.float32], order: int) -> NDArray[np.float64]:
    """Mean Fisher z over all pairs of repeats, `[V]`, of time courses `[n_repeat, n, V]`.

    NaN in voxels that are constant or not finite in some repeat.
    """
    if len(courses) < 2:
        raise TrainingError(f"{len(courses)} repeat of a segment, expected at least 2 to correlate")
    bad = ~np.isfinite(courses).all(axis=(0, 1))
    bad |= (courses.max(axis=1) == courses.min(axis=1)).any(axis=0)
    clean = [detrended(np.where(bad, np.float32(0), course), order) for course in courses]
    norm = [np.sqrt((course**2).sum(axis=0)) for course in clean]
    pairs = list(itertools.combinations(range(len(clean)), 2))
    total = np.zeros(courses.shape[2])
    for a, b in pairs:
        product = np.where(norm[a] * norm[b] > 0, norm[a] * norm[b], 1)
        r = (clean[a] * clean[b]).sum(axis=0) / product
        total += np.arctanh(np.clip(r, -LARGEST_R, LARGEST_R))
    return np.where(bad, np.nan, total / len(pairs))


@dataclass(frozen=True)
class Reliability:
    """The test's result. V counts the voxels of the brain mask."""

    z: NDArray[np.float64]
    """`[n_segment, V]`: mean Fisher z of each segment."""
    t: NDArray[np.float64]
    """`[V]`"""
    p: NDArray[np.float64]
    """`[V]`, not corrected; NaN where nothing could be tested."""
    p_corrected: NDArray[np.float64]
    """`[V]`"""

    @property
    def r(self) -> NDArray[np.float64]:
        """`[V]`: correlation that the mean z stands for."""
        return np.asarray(np.tanh(self.z.mean(axis=0)))

    @property
    def tested(self) -> NDArray[np.bool_]:
        """`[V]`: voxels with a value in every segment."""
        return np.asarray(np.isfinite(self.p))

    def smallest_p(self) -> float:
        """The smallest P that was found, before correction."""
        return float(np.nanmin(self.p))


def reliability(
    z: NDArray[np.float64], *, correction: str = "bonferroni", one_sided: bool = False
) -> Reliability:
    """Tests segments' means `[n_segment, V]` against 0; only tested voxels count as tests."""
    n_segment = len(z)
    if n_segment < MIN_SEGMENTS:
        raise TrainingError(
            f"{n_segment} segments, expected at least {MIN_SEGMENTS}: a t-test over segments "
            "needs their spread"
        )
    tested = np.isfinite(z).all(axis=0)
    if not tested.any():
        raise TrainingError("no voxel has a value in every segment: all are constant or NaN")
    # Repeats that are equal to the last digit have no spread.
    exact = tested & (z == z[0]).all(axis=0)
    plain = tested & ~exact
    t, p = np.full(z.shape[1], np.nan), np.full(z.shape[1], np.nan)
    alternative = "greater" if one_sided else "two-sided"
    result = stats.ttest_1samp(z[:, plain], 0.0, axis=0, alternative=alternative)
    t[plain], p[plain] = result.statistic, result.pvalue
    sign = np.sign(z[0, exact])
    t[exact] = np.where(sign == 0, 0.0, np.copysign(np.inf, sign))
    p[exact] = np.where(sign > 0 if one_sided else sign != 0, 0.0, 1.0)
    corrected = np.full_like(p, np.nan)
    if correction == "bonferroni":
        corrected[tested] = np.minimum(p[tested] * tested.sum(), 1.0)
    elif correction == "fdr":
        corrected[tested] = stats.false_discovery_control(p[tested])
    elif correction == "none":
        corrected[tested] = p[tested]
    else:
        raise TrainingError(f"correction is {correction!r}, expected {', '.join(CORRECTIONS)}")
    return Reliability(z=z, t=t, p=p, p_corrected=corrected)


def significant(found: Reliability, alpha: float, min_r: float = 0.0) -> NDArray[np.bool_]:
    """Voxels `[V]` with a corrected P below `alpha` that repeat (mean r above `min_r`)."""
    p, r = np.nan_to_num(found.p_corrected, nan=1.0), np.nan_to_num(found.r, nan=-1.0)
    return np.asarray((p < alpha) & (r > min_r))


def most_reliable(found: Reliability, n: int) -> NDArray[np.bool_]:
    """The `n` voxels `[V]` with the largest mean r, whatever their P."""
    r = np.where(found.tested, found.r, -np.inf)
    if n > found.tested.sum():
        raise TrainingError(f"{n} voxels wanted, only {int(found.tested.sum())} could be tested")
    chosen = np.zeros(len(r), np.bool_)
    chosen[np.argsort(-r, kind="stable")[:n]] = True
    return chosen
