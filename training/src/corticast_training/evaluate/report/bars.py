"""Concepts class by class: how many clips of each were found, ours beside the published."""

from collections.abc import Mapping
from html import escape

from corticast_training.evaluate.published import CONCEPTS
from corticast_training.evaluate.scoring import Scores
from corticast_training.evaluate.statistics import NotComputed
from corticast_training.evaluate.summary import KINDS
from corticast_training.labels.classes import CLASSES

PerClass = Mapping[str, Mapping[str, float | int | None]]


def bars(kinds: Mapping[str, Scores | NotComputed]) -> str:
    """Bars of single repeats, of their average and of table b, for each class with a clip."""
    ours: dict[str, PerClass] = {}
    for kind, scores in kinds.items():
        if isinstance(scores, Scores) and scores.per_class is not None:
            ours[kind] = scores.per_class
    if not ours:
        return "<p>not computed: results hold no concepts</p>"
    tested = [name for name in CLASSES if any(known[name]["n_clip"] for known in ours.values())]
    absent = [name for name in CLASSES if name not in tested]
    keys = "".join(f'<span class="key {kind}">{KINDS[kind]}</span>' for kind in ours)
    heads = "".join(f"<b>{KINDS[kind].split()[0]}</b>" for kind in ours)
    return (
        '<p class="soft">Share of the clips with a label whose probability exceeds 0.5, as in '
        "table b of NEURONS; a head that always says yes would have 1 everywhere, so <em>else</em> "
        "is the share of the other clips where it says so, too. "
        "Published shares rest on other clips.</p>"
        f'<p class="soft">{keys}<span class="key theirs">NEURONS, published</span></p>'
        f'<div class="bars" style="--n:{len(ours) + 2}"><span></span><span></span>'
        f"{heads}<b>publ.</b><b>else</b>"
        f"{''.join(_row(name, ours) for name in tested)}</div>"
        f'<p class="soft">Without a test clip: {", ".join(absent) or "none"}.</p>'
    )


def _row(name: str, ours: Mapping[str, PerClass]) -> str:
    published = CONCEPTS.get(CLASSES.index(name))
    shares = {kind: known[name]["found"] for kind, known in ours.items()} | {"theirs": published}
    n_clip = max(known[name]["n_clip"] or 0 for known in ours.values())
    drawn = "".join(
        f'<i class="{kind}" style="width:{100 * share:.1f}%"></i>'
        for kind, share in shares.items()
        if share is not None
    )
    false_alarm = list(ours.values())[-1][name]["false_alarm"]
    values = "".join(f"<span>{_share(share)}</span>" for share in (*shares.values(), false_alarm))
    return (
        f'<span class="name">{escape(name)} <small>{n_clip}</small></span>'
        f'<span class="track">{drawn}</span>{values}'
    )


def _share(share: float | int | None) -> str:
    return "–" if share is None else f"{share:.2f}"
