"""The page: what was reached, on what, beside whom, and what it looks like."""

from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

from corticast_training.evaluate.figures.catalog import CATALOG
from corticast_training.evaluate.published import CONCEPTS
from corticast_training.evaluate.report import embed
from corticast_training.evaluate.report.style import STYLE
from corticast_training.evaluate.report.tables import (
    all_figures,
    figure_of,
    published_beside,
    systems_beside,
)
from corticast_training.evaluate.scoring import Example, Scores
from corticast_training.evaluate.statistics import Figure, NotComputed
from corticast_training.evaluate.summary import KINDS, Evaluation
from corticast_training.labels.classes import CLASSES

CLIP_S = 2.0
HEADLINES = (
    "concept_top1",
    "retrieval_brain_forward_top1_of_50",
    "bleu_4",
    "mask_iou",
    "ssim_neurons",
    "frame_50way",
)


def page(evaluation: Evaluation) -> str:
    """The whole report as HTML."""
    truth, systems = evaluation.truth, evaluation.systems
    name, kinds = next(iter(systems.items()))
    parts = [
        f"<h1>Evaluation of {escape(name)}</h1>",
        f'<p class="soft">{escape(truth.data_set)}, {len(truth.clip_ids)} {truth.split} clips. '
        "Intervals are 95 % bootstraps over clips; ± is the s.d. over repeats. "
        "<em>Permuted</em> is the same figure with each result held against the truth of "
        "another clip.</p>",
        _list(evaluation.notes),
        _tiles(kinds),
    ]
    if len(systems) > 1:
        parts += [
            "<h2>Systems on the same data</h2>",
            systems_beside(systems),
            _list([f"{who}: {what}" for who, what in evaluation.differences.items()]),
        ]
    parts += [
        "<h2>Beside published figures</h2>",
        '<p class="soft">Published figures are of cc2017 with BOLD averaged over ten repeats and '
        "the classifiers of their papers. Unless these are the same here, they give the scale "
        "and are no comparison.</p>",
        published_beside(systems),
        "<h2>Clips</h2>",
        '<p class="soft">Spread evenly over the test set, not chosen by their figures.</p>',
        _examples(kinds),
        "<h2>Concepts, class by class</h2>",
        _bars(kinds),
    ]
    for who, figures in systems.items():
        parts += [f"<h2>All figures of {escape(who)}</h2>", all_figures(figures)]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(name)}: evaluation</title><style>{STYLE}</style></head>\n"
        f"<body>{body}</body></html>\n"
    )


def _list(items: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>" if items else ""


def _tiles(kinds: Mapping[str, Scores | NotComputed]) -> str:
    tiles = []
    for key in HEADLINES:
        entry = CATALOG[key]
        for kind, label in KINDS.items():
            figure = figure_of(kinds[kind], key)
            if isinstance(figure, Figure):
                control = "" if figure.control is None else f"permuted {figure.control:.3f}"
                chance = "" if figure.chance is None else f"chance {figure.chance:.3f}"
                against = ", ".join(text for text in (control, chance) if text)
                tiles.append(
                    f'<div class="tile"><small>{entry.group}: {escape(entry.label)}</small>'
                    f"<strong>{figure.value:.3f}</strong>"
                    f"<small>{label}; {against}</small></div>"
                )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _examples(kinds: Mapping[str, Scores | NotComputed]) -> str:
    parts = []
    for kind, label in KINDS.items():
        scores = kinds[kind]
        if isinstance(scores, Scores):
            cards = "".join(_example(example) for example in scores.examples)
            which = escape(scores.repeats[0])
            parts.append(f'<h3>{label}: {which}</h3><div class="examples">{cards}</div>')
    return "".join(parts)


def _example(example: Example) -> str:
    if example.frames is None:
        found = "<figure><figcaption>no reconstruction</figcaption></figure>"
    else:
        found = _video(example.frames, "decoded")
    said = "none" if example.caption is None else escape(example.caption)
    labels = ", ".join(CLASSES[label] for label in example.labels) or "none"
    concepts = ", ".join(f"{escape(name)} {p:.2f}" for name, p in example.concepts.items())
    return (
        f'<div class="example"><div class="pair">{_video(example.true_frames, "shown")}{found}'
        f"</div><p><b>shown:</b> {escape(example.true_caption)}</p><p><b>decoded:</b> {said}</p>"
        f'<p class="soft">classes: {labels}<br>most probable: {concepts or "none"}</p></div>'
    )


def _video(frames: NDArray[np.uint8], what: str) -> str:
    return (
        '<figure><picture><source media="(prefers-reduced-motion: reduce), print" '
        f'srcset="{embed.strip(frames)}"><img alt="{what} clip" '
        f'src="{embed.animation(frames, CLIP_S)}"></picture>'
        f"<figcaption>{what}</figcaption></figure>"
    )


def _bars(kinds: Mapping[str, Scores | NotComputed]) -> str:
    scores = next((s for s in reversed(list(kinds.values())) if isinstance(s, Scores)), None)
    if scores is None or scores.per_class is None:
        return "<p>not computed: results hold no concepts</p>"
    on = KINDS[next(kind for kind, s in kinds.items() if s is scores)]
    rows = []
    for index, name in enumerate(CLASSES):
        found, published = scores.per_class[name]["found"], CONCEPTS.get(index)
        if found is None:
            continue
        n_clip = scores.per_class[name]["n_clip"]
        theirs = "–" if published is None else f"{published:.2f}"
        bars = f'<span class="bar ours" style="width:{100 * found:.1f}%"></span>'
        if published is not None:
            bars += f'<span class="bar theirs" style="width:{100 * published:.1f}%"></span>'
        rows.append(
            f'<span>{escape(name)} <small class="soft">{n_clip} clips</small></span>'
            f'<span class="track">{bars}</span><span class="value">{found:.2f} / {theirs}</span>'
        )
    absent = [name for name in CLASSES if scores.per_class[name]["found"] is None]
    return (
        f'<p class="soft">Share of the clips with a label whose probability exceeds 0.5 ({on}). '
        '<span class="key ours">here</span><span class="key theirs">NEURONS, published</span></p>'
        f'<div class="bars">{"".join(rows)}</div>'
        f'<p class="soft">Without a test clip: {", ".join(absent) or "none"}.</p>'
    )
