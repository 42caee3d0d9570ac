"""The page: figures, data, pictures, and other systems for comparison."""

from html import escape

from corticast_training import __version__
from corticast_training.evaluate.report.bars import bars
from corticast_training.evaluate.report.clips import clips
from corticast_training.evaluate.report.headlines import headlines
from corticast_training.evaluate.report.style import STYLE
from corticast_training.evaluate.report.tables import (
    all_figures,
    published_beside,
    systems_beside,
)
from corticast_training.evaluate.scoring import Scores
from corticast_training.evaluate.summary import KINDS, Evaluation


def page(evaluation: Evaluation) -> str:
    """The whole report as HTML."""
    systems = evaluation.systems
    name, kinds = next(iter(systems.items()))
    parts = [
        f"<h1>Evaluation of {escape(name)}</h1>",
        f'<p class="soft">{_tested(evaluation)}</p>',
        _list(evaluation.notes),
        "<h2>At a glance</h2>",
        headlines(kinds),
        "<h2>Clips</h2>",
        '<p class="soft">Spread evenly over the test set, not chosen by their figures. Under the '
        "captions: the classes of the clip, and the most probable ones decoded.</p>",
        clips(kinds),
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
        "and are no comparison. 2-way and 50-way are frame-based, top-1; SSIM is the column form "
        "of the reference, not the usual one.</p>",
        published_beside(systems),
        "<h2>Concepts, class by class</h2>",
        bars(kinds),
    ]
    for who, figures in systems.items():
        parts += [
            f"<h2>All figures of {escape(who)}</h2>",
            '<p class="soft">In brackets 95 % intervals, bootstrapped over clips; ± is the s.d. '
            "over repeats. <em>Permuted</em> is the same figure with each result held against the "
            "truth of another clip, and p the share of such permutations that are at least as "
            "good. <em>Exact</em> is the expectation over all draws, which published figures "
            "estimate with 100.</p>",
            all_figures(figures),
        ]
    parts.append(f"<footer>corticast-train {__version__}, seed {evaluation.seed}</footer>")
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(name)}: evaluation</title><style>{STYLE}</style></head>\n"
        f"<body>{body}</body></html>\n"
    )


def _tested(evaluation: Evaluation) -> str:
    """Names the clips and the number of repeats of each system."""
    truth = evaluation.truth
    first = next(iter(evaluation.systems.values()))
    counts = []
    for kind, scores in first.items():
        told = str(len(scores.repeats)) if isinstance(scores, Scores) else scores.reason
        counts.append(f"{KINDS[kind]}: {told}")
    return f"{escape(truth.data_set)}, {len(truth.clip_ids)} {truth.split} clips; " + escape(
        "; ".join(counts)
    )


def _list(items: list[str]) -> str:
    if not items:
        return ""
    return f'<ul class="notes">{"".join(f"<li>{escape(item)}</li>" for item in items)}</ul>'
