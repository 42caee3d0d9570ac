"""How certain a figure is: its spread over repeats and clips, and its value with shuffled truth.

A figure is computed from one row of numbers per clip, summed over clips. Its interval resamples
clips (percentile bootstrap, 95 %, all repeats of a clip together). Its control is the same figure
with every result compared with the truth of another clip. A decoder that knows what such clips are
like in general, but not which clip was shown, would reach the control.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_BOOTSTRAP = 1000
INTERVAL = (2.5, 97.5)
N_SHUFFLE = 100
FEWEST_FOR_P = 19
"""With fewer shuffles no share can be .05."""

Order = NDArray[np.int64]
RowsOf = Callable[[Order], NDArray[np.float64]]
"""`rows(order)`: result i against the truth of result `order[i]`. Numbers to sum over clips,
`[n, k]`, or a score to average over them, `[n]`, NaN where a clip cannot tell."""
Reduce = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From rows summed over clips to the figure, `[..., k]` → `[...]`."""


@dataclass(frozen=True)
class Measured:
    """One figure on one repeat, as rows that can be resampled."""

    clip: NDArray[np.int64]
    """Shape `[n]`, ascending: which clip each row belongs to."""
    rows: NDArray[np.float64]
    """Shape `[n, k]`."""
    shuffled: list[NDArray[np.float64]]
    """The same against the truth of other clips."""
    reduce: Reduce
    chance: float | None
    chance_of: str
    """What reaches `chance`, in words."""


@dataclass(frozen=True)
class NotComputed:
    """A figure that was not computed, and the reason."""

    reason: str


@dataclass(frozen=True)
class Figure:
    """A figure over all repeats."""

    value: float
    sd: float | None
    """Over repeats; none for one repeat."""
    interval: tuple[float, float]
    control: float | None
    control_interval: tuple[float, float] | None
    above_control: tuple[float, float] | None
    """Interval of figure minus control, over the same draws of clips."""
    p_value: float | None
    """Share of shuffles that are at least as good, counting the true order as one; none where
    there are too few to tell."""
    chance: float | None
    chance_of: str
    n_clip: int
    n_repeat: int


def known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """An averaged score as a sum and a count of the clips that have a value, `[n]` → `[n, 2]`."""
    tells = np.isfinite(values)
    return np.stack([np.where(tells, values, 0.0), tells], axis=1)


def ratio(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum divided by count, `[..., 2]`; NaN if the count is 0."""
    part, whole = totals[..., 0], totals[..., 1]
    nothing = np.full(np.shape(part), np.nan)
    return np.asarray(np.divide(part, whole, out=nothing, where=whole > 0))


def measure(
    clip: NDArray[np.int64],
    rows_of: RowsOf,
    *,
    reduce: Reduce = ratio,
    n_shuffle: int = N_SHUFFLE,
    seed: int = 0,
    chance: float | None = None,
    chance_of: str = "",
) -> Measured:
    """Scores the results of one repeat in their order and in `n_shuffle` others.

    `n_shuffle` is 0 where a figure does not depend on the truth.
    """
    rng = np.random.default_rng(seed)
    n = len(clip)

    def rows(order: Order) -> NDArray[np.float64]:
        found = rows_of(order)
        return known(found) if found.ndim == 1 else found

    return Measured(
        clip=clip,
        rows=rows(np.arange(n)),
        shuffled=[rows(_other(n, rng)) for _ in range(n_shuffle if n > 1 else 0)],
        reduce=reduce,
        chance=chance,
        chance_of=chance_of,
    )


def judge(repeats: Sequence[Measured], seed: int = 0) -> Figure | NotComputed:
    """Combines the repeats of one figure."""
    rng = np.random.default_rng(seed)
    values = np.array([one.reduce(one.rows.sum(axis=0)) for one in repeats])
    if not np.isfinite(values).any():
        return NotComputed("no clip of the test set can tell")
    value = float(np.nanmean(values))
    clips = np.unique(np.concatenate([one.clip for one in repeats]))
    # A draw with replacement is a count of how often each clip is drawn: one matrix product.
    even = np.full(len(clips), 1 / len(clips))
    drawn = rng.multinomial(len(clips), even, size=N_BOOTSTRAP).astype(np.float64)
    times = [drawn[:, np.searchsorted(clips, one.clip)] for one in repeats]
    spread = _mean([one.reduce(n @ one.rows) for one, n in zip(repeats, times, strict=True)])

    n_shuffle = min(len(one.shuffled) for one in repeats)
    controls, control_spread, above = [], [], []
    for k in range(n_shuffle):
        controls.append(_mean([one.reduce(one.shuffled[k].sum(axis=0)) for one in repeats]))
        # The draws are divided equally among the shuffles.
        part = slice(k, None, n_shuffle)
        resampled = [
            one.reduce(n[part] @ one.shuffled[k]) for one, n in zip(repeats, times, strict=True)
        ]
        control_spread.append(_mean(resampled))
        above.append(spread[part] - control_spread[-1])
    n_as_good = 1 + int(np.sum(np.array(controls) >= value))
    return Figure(
        value=value,
        sd=float(np.nanstd(values, ddof=1)) if np.isfinite(values).sum() > 1 else None,
        interval=_interval(spread),
        control=float(np.mean(controls)) if n_shuffle else None,
        control_interval=_interval(np.concatenate(control_spread)) if n_shuffle else None,
        above_control=_interval(np.concatenate(above)) if n_shuffle else None,
        p_value=n_as_good / (1 + n_shuffle) if n_shuffle >= FEWEST_FOR_P else None,
        chance=repeats[0].chance,
        chance_of=repeats[0].chance_of,
        n_clip=len(clips),
        n_repeat=len(repeats),
    )


def _other(n: int, rng: np.random.Generator) -> Order:
    """An order in which every result has the truth of another one."""
    circle = rng.permutation(n)
    order = np.empty(n, dtype=np.int64)
    order[circle] = np.roll(circle, int(rng.integers(1, n)))
    return order


def _mean(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean over the repeats that have a value; `[n_repeat, ...]` → `[...]`."""
    stacked = np.array(values)
    tells = np.isfinite(stacked)
    total, n = np.where(tells, stacked, 0.0).sum(axis=0), tells.sum(axis=0)
    return ratio(np.stack([total, n], axis=-1))


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    tell = values[np.isfinite(values)]
    if not tell.size:
        return float("nan"), float("nan")
    low, high = np.percentile(tell, INTERVAL)
    return float(low), float(high)
