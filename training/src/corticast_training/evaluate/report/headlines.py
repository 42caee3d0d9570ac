"""The most important figures as a drawing: value and interval beside chance.

One line per kind of BOLD. The dot and its line are the figure and its interval, the band is the
permuted control's interval, the tick is chance. Each figure has an axis of its own from 0.
"""

from collections.abc import Iterable, Mapping
from html import escape

from corticast_training.evaluate.figures.catalog import CATALOG
from corticast_training.evaluate.scoring import Scores
from corticast_training.evaluate.statistics import Figure, NotComputed
from corticast_training.evaluate.summary import KINDS, control_text, figure_of, with_interval

HEADLINES = (
    "concept_top1",
    "retrieval_brain_forward_top1_of_50",
    "bleu_4",
    "mask_iou",
    "ssim_neurons",
    "frame_50way",
)
AXES = (0.1, 0.2, 0.5, 1.0)


def headlines(kinds: Mapping[str, Scores | NotComputed]) -> str:
    """A row for each headline figure."""
    legend = (
        '<p class="soft"><span class="key dot single">single repeats</span>'
        '<span class="key dot mean">average of repeats</span>'
        '<span class="key band">permuted</span><span class="key tick">chance</span></p>'
    )
    return legend + f'<div class="plots">{"".join(_row(key, kinds) for key in HEADLINES)}</div>'


def _row(key: str, kinds: Mapping[str, Scores | NotComputed]) -> str:
    entry = CATALOG[key]
    found = {kind: figure_of(kinds[kind], key) for kind in KINDS}
    figures = {kind: one for kind, one in found.items() if isinstance(one, Figure)}
    name = f"<div><b>{escape(entry.label)}</b><br><small>{entry.group}</small></div>"
    if not figures:
        reason = next(one.reason for one in found.values() if isinstance(one, NotComputed))
        told = f'<small class="none">not computed: {escape(reason)}</small>'
        return f'<div class="plot">{name}{told}</div>'
    axis = _axis(figures.values())
    lanes = "".join(_lane(kind, figure, axis) for kind, figure in figures.items())
    said = "".join(
        f'<div class="{kind}">{figure.value:.3f} <small>{_verdict(figure)}</small></div>'
        for kind, figure in figures.items()
    )
    scale = f'<div class="axis"><span>0</span><span>{axis:g}</span></div>'
    return f'<div class="plot">{name}<div>{lanes}{scale}</div><div class="said">{said}</div></div>'


def _lane(kind: str, figure: Figure, axis: float) -> str:
    told = f"{KINDS[kind]}: {with_interval(figure.value, figure.interval)}"
    marks = ""
    if figure.control_interval is not None:
        told += f"; permuted {control_text(figure)}"
        marks += f'<i class="band" style="{_span(figure.control_interval, axis)}"></i>'
    if figure.chance is not None:
        told += f"; chance {figure.chance:.3f}: {figure.chance_of}"
        marks += f'<i class="tick" style="left:{_place(figure.chance, axis)}"></i>'
    marks += f'<i class="line" style="{_span(figure.interval, axis)}"></i>'
    marks += f'<i class="dot" style="left:{_place(figure.value, axis)}"></i>'
    return f'<div class="lane {kind}" title="{escape(told)}">{marks}</div>'


def _verdict(figure: Figure) -> str:
    if figure.above_control is None:
        return ""
    above = figure.above_control[0] > 0
    return "above permuted" if above else "not above permuted"


def _axis(figures: Iterable[Figure]) -> float:
    ends = [
        end
        for figure in figures
        for end in (*figure.interval, *(figure.control_interval or ()), figure.chance or 0.0)
    ]
    return next((axis for axis in AXES if max(ends) <= axis), max(ends))


def _place(value: float, axis: float) -> str:
    return f"{100 * min(max(value / axis, 0.0), 1.0):.2f}%"


def _span(interval: tuple[float, float], axis: float) -> str:
    low, high = (min(max(end / axis, 0.0), 1.0) for end in interval)
    return f"left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"
