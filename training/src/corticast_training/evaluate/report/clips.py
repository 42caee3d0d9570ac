"""Example clips: the true clip beside those decoded from one repeat and from the mean of all."""

from collections.abc import Iterable, Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

from corticast_training.evaluate.report import embed
from corticast_training.evaluate.scoring import Example, Scores
from corticast_training.evaluate.statistics import NotComputed
from corticast_training.labels.classes import CLASSES

CLIP_S = 2.0
SAID = {"single": "one repeat", "mean": "average"}


def clips(kinds: Mapping[str, Scores | NotComputed]) -> str:
    """One card per clip."""
    cards: dict[int, dict[str, Example]] = {}
    for kind, scores in kinds.items():
        for example in scores.examples if isinstance(scores, Scores) else []:
            cards.setdefault(example.clip, {})[kind] = example
    return f'<div class="examples">{"".join(_card(found) for found in cards.values())}</div>'


def _card(found: Mapping[str, Example]) -> str:
    first = next(iter(found.values()))
    videos = _video(first.true_frames, "shown")
    lines = _line("shown", first.true_caption, (CLASSES[label] for label in first.labels))
    for kind, example in found.items():
        videos += _video(example.frames, SAID[kind])
        best = (f"{name} {share:.2f}" for name, share in example.concepts.items())
        lines += _line(SAID[kind], example.caption, best)
    return (
        f'<div class="example"><div class="videos" style="--n:{1 + len(found)}">{videos}</div>'
        f"<dl>{lines}</dl></div>"
    )


def _line(what: str, caption: str | None, concepts: Iterable[str]) -> str:
    said = "<i>no caption</i>" if caption is None else escape(caption) or "<i>empty</i>"
    names = escape(", ".join(concepts)) or "no concepts"
    return f"<dt>{what}</dt><dd>{said}<br><small>{names}</small></dd>"


def _video(frames: NDArray[np.uint8] | None, what: str) -> str:
    if frames is None:
        return (
            f'<figure><div class="none">no pictures</div><figcaption>{what}</figcaption></figure>'
        )
    return (
        '<figure><picture><source media="(prefers-reduced-motion: reduce), print" '
        f'srcset="{embed.strip(frames)}"><img alt="{what} clip" '
        f'src="{embed.animation(frames, CLIP_S)}"></picture>'
        f"<figcaption>{what}</figcaption></figure>"
    )
