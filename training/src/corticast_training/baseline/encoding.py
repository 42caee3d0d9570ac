"""An encoding model: predicts the response of each voxel to a clip.

Ridge from features of a clip to its window, with a strength of its own for every voxel (more
exactly, for every voxel of every volume of the window). All predictions are cross-fitted: a
clip's BOLD is predicted by a model that never saw it. Voxels are chosen by the correlation of
their predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from corticast_training.baseline.ridge import STRENGTHS, Array, Ridge, kernel_of
from corticast_training.errors import TrainingError
from corticast_training.progress import progress

MAX_VOXELS = 2000
"""As many as Nishimoto et al. decoded from."""


@dataclass(frozen=True)
class Encoding:
    """The chosen voxels; d counts them."""

    voxels: NDArray[np.int64]
    """`[d]`, ascending: positions in a window `[D]`."""
    predicted: Array
    """Of each clip, `[n, d]`."""
    correlation: Array
    """Of held-out predictions with the mean of the repeats, `[d]`."""
    strength: Array
    """`[d]`"""
    whitening: Array
    """`[d, d]`: residuals of one trial times this have covariance 1."""


def fit_encoding(
    features: NDArray[np.float32],
    windows: NDArray[np.float32],
    folds: Sequence[NDArray[np.bool_]],
) -> Encoding:
    """Fits features `[n, p]` of clips to their windows `[R, n, D]`.

    Raises `TrainingError` where no voxel is predicted at all.
    """
    kernel = kernel_of(_standard(features))
    mean = windows.mean(axis=0, dtype=np.float64)
    best = _choose(kernel, mean, folds)
    predicted = _cross_fitted(kernel, mean, folds, best)
    correlation = _correlation(predicted, mean, folds)
    # Stable, so that voxels that tie are chosen in the same order everywhere.
    order = np.argsort(-correlation, kind="stable")[:MAX_VOXELS]
    voxels = np.sort(order[correlation[order] > 0])
    if not len(voxels):
        raise TrainingError(
            "motion energy predicts no voxel of held-out clips: are windows and clips of one data "
            "set, and is visual cortex in the mask?"
        )
    residuals = (windows[:, :, voxels] - predicted[:, voxels]).reshape(-1, len(voxels))
    return Encoding(
        voxels=voxels,
        predicted=predicted[:, voxels],
        correlation=correlation[voxels],
        strength=STRENGTHS[best[voxels]],
        whitening=_whitening(residuals),
    )


def _standard(features: NDArray[np.float32]) -> NDArray[np.float32]:
    mean, sd = features.mean(axis=0), features.std(axis=0)
    return np.asarray((features - mean) / np.where(sd > 1e-6, sd, 1), dtype=np.float32)


def _choose(kernel: Array, mean: Array, folds: Sequence[NDArray[np.bool_]]) -> NDArray[np.int64]:
    """Position in STRENGTHS of the least held-out error of each voxel, `[D]`."""
    errors = np.zeros((len(STRENGTHS), mean.shape[1]))
    for out in progress(folds, len(folds), "fitting voxels"):
        ridge = Ridge(kernel[np.ix_(~out, ~out)], "motion energies")
        across = kernel[np.ix_(out, ~out)]
        for k, found in enumerate(ridge.predictions(across, mean[~out], STRENGTHS)):
            errors[k] += ((found - mean[out]) ** 2).sum(axis=0)
    return np.asarray(errors.argmin(axis=0))


def _cross_fitted(
    kernel: Array, mean: Array, folds: Sequence[NDArray[np.bool_]], best: NDArray[np.int64]
) -> Array:
    predicted = np.empty_like(mean)
    for out in progress(folds, len(folds), "predicting voxels"):
        ridge = Ridge(kernel[np.ix_(~out, ~out)], "motion energies")
        across = kernel[np.ix_(out, ~out)]
        for k in np.unique(best):
            here = best == k
            (found,) = ridge.predictions(across, mean[np.ix_(~out, here)], STRENGTHS[[k]])
            predicted[np.ix_(out, here)] = found
    return predicted


def _correlation(predicted: Array, mean: Array, folds: Sequence[NDArray[np.bool_]]) -> Array:
    """By voxel, `[D]`. Both relative to their mean in the fold: folds differ in theirs."""
    a, b = np.empty_like(predicted), np.empty_like(mean)
    for out in folds:
        a[out] = predicted[out] - predicted[out].mean(axis=0)
        b[out] = mean[out] - mean[out].mean(axis=0)
    norm = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    # A prediction that is all but constant has rounding errors for a course.
    tells = (a**2).sum(axis=0) > 1e-12 * (b**2).sum(axis=0)
    return np.asarray(np.where(tells, (a * b).sum(axis=0) / np.where(norm > 0, norm, 1), 0))


def _whitening(residuals: Array) -> Array:
    """Inverse of the Cholesky factor of the covariance, shrunk after Ledoit and Wolf, transposed.

    Voxels are many and residuals few: without shrinking it could not be inverted.
    """
    covariance = LedoitWolf().fit(residuals).covariance_
    lower = np.linalg.cholesky(covariance)
    return np.asarray(np.linalg.solve(lower, np.eye(len(lower))).T)
