"""Identification of clips by the tokens of the brain model and of the prior."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from corticast_training.evaluate.figures.held import holding, stacked
from corticast_training.evaluate.join import Repeat
from corticast_training.evaluate.retrieval import hits, similarity
from corticast_training.evaluate.statistics import Measured, NotComputed, Order, measure
from corticast_training.evaluate.truth import Truth

POOL = 50
SOURCES = {"brain": "brain_tokens", "prior": "tokens"}


def measure_identification(repeat: Repeat, truth: Truth) -> dict[str, Measured | NotComputed]:
    """Top-1 and top-5 both ways, among all clips of the repeat and in pools of 50."""
    figures: dict[str, Measured | NotComputed] = {}
    for source, tensor in SOURCES.items():
        part = holding(repeat, tensor)
        if part is None or len(part.clip) < 2:
            why = NotComputed(f"results hold no `{tensor}`" if part is None else "only one clip")
            figures |= dict.fromkeys(_keys(source), why)
            continue
        figures |= _both_ways(source, part, _table(part, truth, tensor))
    return figures


def _keys(source: str) -> list[str]:
    ways = (f"retrieval_{source}_{way}" for way in ("forward", "backward"))
    return [f"{way}_{place}" for way in ways for place in ("top1_of_50", "top1", "top5")]


def _table(part: Repeat, truth: Truth, tensor: str) -> NDArray[np.float32]:
    """Similarity of each result to each result's picture, `[n, n]`."""
    shape = (truth.sizes.n_token, truth.sizes.channels)

    def found(first: int, last: int) -> NDArray[np.floating]:
        return stacked(Repeat(part.name, part.clip, part.results[first:last]), tensor, shape)

    def true(first: int, last: int) -> NDArray[np.floating]:
        return np.asarray(truth.image_tokens[part.clip[first:last], truth.keyframe])

    return similarity(found, len(part.clip), true, len(part.clip))


def _both_ways(
    source: str, part: Repeat, table: NDArray[np.float32]
) -> dict[str, Measured | NotComputed]:
    n = len(part.clip)
    places = {"top1_of_50": (1, min(POOL, n)), "top1": (1, n), "top5": (min(5, n), n)}
    figures: dict[str, Measured | NotComputed] = {}
    for way, looked in (("forward", table), ("backward", table.T)):
        for place, (top_k, pool) in places.items():
            hit = hits(looked, top_k, pool)
            figures[f"retrieval_{source}_{way}_{place}"] = measure(
                part.clip,
                partial(_at, hit if way == "forward" else hit.T),
                chance=top_k / pool,
                chance_of=f"{top_k} of {pool} clips",
            )
    return figures


def _at(hit: NDArray[np.float64], order: Order) -> NDArray[np.float64]:
    return np.asarray(hit[np.arange(len(order)), order])
