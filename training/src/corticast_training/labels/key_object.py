"""The rules that choose a clip's key object, from masks alone.

A category is one tag and its masks. Its movement is the distance of its centroid between two
consecutive frames that both show it, in px, summed over the clip; priority categories (people,
animals) count double. Background categories are not candidates, nor are those that no two
consecutive frames show.

1. If priority categories moved: the one with the largest sum.
2. Else, of the categories that fill less than half of the last frame, the one with the largest
   sum.
3. Else the category with the largest sum.
4. Without candidates there is no key object.

If sums are equal, the earlier tag wins: tags are in order of importance. The rules are those of the
public code of NEURONS (arXiv:2503.11167), with one difference: there, a priority category
also wins if it stands still. Here it must have moved, as the paper says. As in that code, "last
frame" is the later frame of the category's last step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from corticast_training.labels.config import KeyObject


class Rule(StrEnum):
    """The rule that decided."""

    PRIORITY = "priority"
    SMALL = "small"
    LARGEST = "largest"
    NONE = "none"


@dataclass(frozen=True)
class Candidate:
    """A category that is visible in two consecutive frames."""

    tag: str
    moved_px: float
    """Sum over steps, a priority category's doubled."""
    area: float
    """Fraction of the last frame."""
    priority: bool


@dataclass(frozen=True)
class Choice:
    """The key object of one clip."""

    tag: str | None
    rule: Rule
    candidates: tuple[Candidate, ...]


def choose(
    masks: Mapping[str, NDArray[np.bool_]], class_of: Mapping[str, str], rules: KeyObject
) -> Choice:
    """Chooses among tags with masks `[F, h, w]`, in order of importance."""
    candidates = []
    for tag, mask in masks.items():
        if rules.background.hold(tag, class_of[tag]) or (path := _path(mask)) is None:
            continue
        priority = rules.priority.hold(tag, class_of[tag])
        moved_px, area = path
        weight = rules.priority_weight if priority else 1.0
        candidates.append(Candidate(tag, weight * moved_px, area, priority))

    moving = [candidate for candidate in candidates if candidate.priority and candidate.moved_px]
    small = [candidate for candidate in candidates if candidate.area < rules.max_area]
    for rule, group in (
        (Rule.PRIORITY, moving),
        (Rule.SMALL, small),
        (Rule.LARGEST, candidates),
    ):
        if group:
            best = max(group, key=lambda candidate: candidate.moved_px)
            return Choice(best.tag, rule, tuple(candidates))
    return Choice(None, Rule.NONE, ())


def centroids(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Row and column of the centre of each frame `[F, h, w]`, px; NaN where empty. `[F, 2]`."""
    mass = mask.sum(axis=(1, 2))
    sums = [
        mask.sum(axis=2) @ np.arange(mask.shape[1]),
        mask.sum(axis=1) @ np.arange(mask.shape[2]),
    ]
    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = np.stack(sums, axis=1) / mass[:, None].astype(np.float64)
    return found


def _path(mask: NDArray[np.bool_]) -> tuple[float, float] | None:
    """A category's movement, and its share of the last frame; None if it has no step."""
    steps = np.linalg.norm(np.diff(centroids(mask), axis=0), axis=1)
    seen = np.flatnonzero(np.isfinite(steps))
    if not len(seen):
        return None
    return float(steps[seen].sum()), float(mask[seen[-1] + 1].mean())
