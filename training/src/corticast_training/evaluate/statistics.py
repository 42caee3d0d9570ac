"""What a figure is worth: its spread over repeats, over clips, and beside shuffled truth.

A figure is computed from one row of numbers a clip. Its interval resamples clips (percentile
bootstrap, 95 %, all repeats of a clip together). Its control is the same figure with every
result held against the truth of another clip: what the decoder would reach if it knew what
such clips are like on the whole, but not which one was shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_BOOTSTRAP = 1000
INTERVAL = (2.5, 97.5)

Order = NDArray[np.int64]
RowsOf = Callable[[Order], NDArray[np.float64]]
"""`rows(order)` `[n, k]` or `[n]`: result i against the truth of result `order[i]`."""
Reduce = Callable[[NDArray[np.float64]], float]


@dataclass(frozen=True)
class Measured:
    """One figure on one repeat."""

    clip: NDArray[np.int64]
    """Shape `[n]`, ascending: which clip each result belongs to."""
    rows: RowsOf
    reduce: Reduce
    n_shuffle: int
    """Shuffles of the control; 0 where a figure does not depend on the truth."""


@dataclass(frozen=True)
class Figure:
    """A figure over all repeats."""

    value: float
    sd: float | None
    """Over repeats; none for one repeat."""
    interval: tuple[float, float]
    control: float | None
    control_interval: tuple[float, float] | None
    p_value: float | None
    """Share of shuffles that are at least as good, counting the true order as one."""
    n_clip: int
    n_repeat: int


def mean_of_known(rows: NDArray[np.float64]) -> float:
    """Mean over clips without those that cannot tell (NaN)."""
    known = rows[np.isfinite(rows)]
    return float(known.mean()) if known.size else float("nan")


def judge(repeats: Sequence[Measured], seed: int = 0) -> Figure | None:
    """Puts one figure's repeats together; none where no clip can tell."""
    rng = np.random.default_rng(seed)
    true_rows = [one.rows(np.arange(len(one.clip))) for one in repeats]
    values = [one.reduce(rows) for one, rows in zip(repeats, true_rows, strict=True)]
    if not np.isfinite(values).any():
        return None
    clips = np.unique(np.concatenate([one.clip for one in repeats]))
    draws = rng.integers(len(clips), size=(N_BOOTSTRAP, len(clips)))
    spread = [_resampled(repeats, true_rows, clips[draw]) for draw in draws]

    n_shuffle = min(one.n_shuffle for one in repeats)
    shuffled: list[list[NDArray[np.float64]]] = []
    if n_shuffle and min(len(one.clip) for one in repeats) > 1:
        shuffled = [[one.rows(_other(one.clip, rng)) for one in repeats] for _ in range(n_shuffle)]
    controls = [
        mean_of_known(np.array([one.reduce(r) for one, r in zip(repeats, rows, strict=True)]))
        for rows in shuffled
    ]
    value = mean_of_known(np.array(values))
    control_spread = [
        _resampled(repeats, shuffled[k % len(shuffled)], clips[draw])
        for k, draw in enumerate(draws)
        if shuffled
    ]
    return Figure(
        value=value,
        sd=float(np.nanstd(values, ddof=1)) if len(values) > 1 else None,
        interval=_interval(spread),
        control=float(np.mean(controls)) if controls else None,
        control_interval=_interval(control_spread) if controls else None,
        p_value=float((1 + np.sum(np.array(controls) >= value)) / (1 + len(controls)))
        if controls
        else None,
        n_clip=len(clips),
        n_repeat=len(repeats),
    )


def _other(clip: NDArray[np.int64], rng: np.random.Generator) -> Order:
    """An order in which every result has the truth of another one."""
    n = len(clip)
    circle = rng.permutation(n)
    order = np.empty(n, dtype=np.int64)
    order[circle] = np.roll(circle, int(rng.integers(1, n)))
    return order


def _resampled(
    repeats: Sequence[Measured], rows: Sequence[NDArray[np.float64]], drawn: NDArray[np.int64]
) -> float:
    values = []
    for one, own in zip(repeats, rows, strict=True):
        position = np.searchsorted(one.clip, drawn)
        held = position < len(one.clip)
        held[held] = one.clip[position[held]] == drawn[held]
        if held.any():
            values.append(one.reduce(own[position[held]]))
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _interval(values: Sequence[float]) -> tuple[float, float]:
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return float("nan"), float("nan")
    low, high = np.percentile(known, INTERVAL)
    return float(low), float(high)
