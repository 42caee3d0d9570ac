"""n-way top-k: whether a classifier finds the class of the true picture in a reconstruction.

The truth's classes are the three that the classifier finds most likely in the true picture.
Against n - 1 classes drawn from all others, the prediction is a hit when at least one of the
three ranks among the top k. Published figures are from random draws.
The expectation over all draws is a hypergeometric probability, which needs no draws.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

TRUE_CLASSES = 3


def true_classes(logits: NDArray[np.floating]) -> NDArray[np.int64]:
    """The three most likely classes of each row, `[..., n_class]` → `[..., 3]`."""
    return np.argsort(logits, axis=-1, kind="stable")[..., -TRUE_CLASSES:]


def exact(
    predicted: NDArray[np.floating], true: NDArray[np.int64], n_way: int, top_k: int
) -> NDArray[np.float64]:
    """Expected share of hits: P(at most k - 1 of n - 1 draws are above the best true class).

    Args:
        predicted: Scores `[..., n_class]`.
        true: Positions of the true classes, `[..., 3]`.
        n_way: Number of classes to choose from, including the true one.
        top_k: How many ranks count as a hit.

    Returns:
        `[...]`.

    """
    best = np.take_along_axis(predicted, true, axis=-1).max(axis=-1, keepdims=True)
    above = (predicted > best).sum(axis=-1)
    n_pool = predicted.shape[-1] - true.shape[-1]
    return np.asarray(hypergeom.cdf(top_k - 1, n_pool, above, n_way - 1))


def chance(n_way: int) -> float:
    """Top-1 of scores without information: the best of n + 2 is one of the three true classes.

    This is why published 2-way figures are all above .7.
    """
    return TRUE_CLASSES / (n_way + TRUE_CLASSES - 1)


def sampled(
    predicted: NDArray[np.floating],
    true: NDArray[np.int64],
    picks: NDArray[np.int64],
    top_k: int,
) -> NDArray[np.int64]:
    """Hits, 0 or 1, for given draws: `picks` `[n_trial, n_way - 1]` → `[n_trial]`."""
    # In a tie the drawn class wins, as in a stable sort that has the true class in front.
    ahead = (predicted[picks] >= predicted[true].max()).sum(axis=1)
    return np.asarray(ahead < top_k, dtype=np.int64)


def draw_picks(
    n_class: int, true: NDArray[np.int64], n_way: int, n_trial: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draws of n - 1 classes without the true ones, `[n_trial, n_way - 1]`."""
    pool = np.delete(np.arange(n_class), true)
    order = rng.random((n_trial, len(pool))).argsort(axis=1)
    return pool[order[:, : n_way - 1]]


def standard_deviation(accuracy: float, n_trial: int) -> float:
    """Standard error of an accuracy over `n_trial` draws: √(a (1 - a) / trials)."""
    return float(np.sqrt(accuracy * (1 - accuracy) / n_trial))
