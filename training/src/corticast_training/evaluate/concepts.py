"""Concepts: how often the most probable class is true, and how well each class is found."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.5


@dataclass(frozen=True)
class PerClass:
    """Scores of each class; NaN where no clip has the information."""

    found: NDArray[np.float64]
    """Share of the clips with the label whose probability exceeds 0.5 (the paper's table b)."""
    false_alarm: NDArray[np.float64]
    """Share of the clips without it whose probability does: a head that says yes to
    everything has a perfect `found`."""
    n_clip: NDArray[np.int64]
    """Clips with the label."""


def top1(probabilities: NDArray[np.floating], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Whether the most probable class is a label of the clip; both `[n, n_class]` → `[n]`.

    NaN where a clip has no label. Classes that tie for first place share the credit.
    """
    best = probabilities == probabilities.max(axis=1, keepdims=True)
    hit = (best & labels).sum(axis=1) / best.sum(axis=1)
    return np.asarray(np.where(labels.any(axis=1), hit, np.nan))


def top1_chance(labels: NDArray[np.bool_]) -> float:
    """Accuracy of guessing at random: mean share of classes that are true of a clip."""
    labelled = labels[labels.any(axis=1)]
    return float(labelled.mean()) if len(labelled) else float("nan")


def per_class(probabilities: NDArray[np.floating], labels: NDArray[np.bool_]) -> PerClass:
    """Scores `probabilities` `[n, n_class]` against `labels` of the same shape."""
    said = probabilities > THRESHOLD
    with_label, without = labels.sum(axis=0), (~labels).sum(axis=0)
    return PerClass(
        found=_share((said & labels).sum(axis=0), with_label),
        false_alarm=_share((said & ~labels).sum(axis=0), without),
        n_clip=with_label.astype(np.int64),
    )


def _share(part: NDArray[np.integer], whole: NDArray[np.integer]) -> NDArray[np.float64]:
    nothing = np.full(len(part), np.nan)
    return np.asarray(np.divide(part, whole, out=nothing, where=whole > 0))
