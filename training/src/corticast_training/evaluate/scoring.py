"""All figures of one system, first for each repeat, then combined.

A live participant gets results of single repeats. Published figures use BOLD averaged over ten
repeats. Both are scored in the same way and shown side by side.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.evaluate.classifiers import Classifier
from corticast_training.evaluate.concepts import PerClass
from corticast_training.evaluate.figures.catalog import CATALOG
from corticast_training.evaluate.figures.identification import measure_identification
from corticast_training.evaluate.figures.meaning import (
    caption_of,
    captions,
    mean_per_class,
    measure_captions,
    measure_concepts,
    measure_masks,
    measure_verbs,
)
from corticast_training.evaluate.figures.pictures import (
    Seen,
    measure_classes,
    measure_consistency,
    measure_pixels,
)
from corticast_training.evaluate.join import Joined, Repeat
from corticast_training.evaluate.reconstruction import Videos, reconstruct
from corticast_training.evaluate.statistics import Figure, Measured, NotComputed, judge
from corticast_training.evaluate.truth import Truth
from corticast_training.evaluate.verbs import VerbFinder, read_vectors
from corticast_training.targets.pretrained import Pretrained

PIXELS = ("ssim_neurons", "ssim_2d", "psnr_db")
FRAMES = tuple(key for key in CATALOG if key.startswith("frame_"))
VIDEOS = tuple(key for key in CATALOG if key.startswith("video_"))
N_EXAMPLE = 8


@dataclass(frozen=True)
class Networks:
    """Networks that the user named; each figure whose network is missing says so."""

    pretrained: Pretrained | None = None
    images: Classifier | None = None
    videos: Classifier | None = None
    verbs: VerbFinder | None = None
    word_vectors: Path | None = None
    in_truth: dict[str, Seen] = field(default_factory=lambda: defaultdict(dict), repr=False)
    """What they saw in the true clips, so that ten repeats look at them once."""


@dataclass(frozen=True)
class Example:
    """One clip that the report shows."""

    clip: int
    true_caption: str
    caption: str | None
    true_frames: NDArray[np.uint8]
    frames: NDArray[np.uint8] | None
    labels: list[int]
    concepts: dict[str, float]


@dataclass(frozen=True)
class Scores:
    """The figures of a system on one kind of BOLD."""

    repeats: list[str]
    figures: dict[str, Figure | NotComputed]
    per_class: Mapping[str, Mapping[str, float | int | None]] | None
    examples: list[Example] = field(default_factory=list)


def score_system(
    joined: Joined, truth: Truth, networks: Networks, seed: int = 0
) -> dict[str, Scores | NotComputed]:
    """Scores `single` repeats and their `mean`; either may be missing from the results."""
    scored: dict[str, Scores | NotComputed] = {}
    shown = _shown([*joined.single[:1], *([joined.averaged] if joined.averaged else [])])
    scored["single"] = (
        score(joined.single, truth, networks, seed, shown)
        if joined.single
        else NotComputed("no results of single repeats")
    )
    scored["mean"] = (
        score([joined.averaged], truth, networks, seed, shown)
        if joined.averaged
        else NotComputed("no results of BOLD averaged over repeats (task-...mean)")
    )
    return scored


def score(
    repeats: Sequence[Repeat], truth: Truth, networks: Networks, seed: int, shown: Sequence[int]
) -> Scores:
    """Scores each repeat and combines the scores; keeps the clips `shown` for the report."""
    measured: dict[str, list[Measured]] = defaultdict(list)
    missing: dict[str, NotComputed] = {}
    classes: list[PerClass] = []
    examples: list[Example] = []
    for repeat in repeats:
        found, per_class, videos = _measure(repeat, truth, networks)
        for key, one in found.items():
            if isinstance(one, NotComputed):
                missing[key] = one
            else:
                measured[key].append(one)
        if per_class is not None:
            classes.append(per_class)
        if not examples:
            examples = _examples(repeat, truth, videos, shown)
    figures: dict[str, Figure | NotComputed] = {
        key: judge(measured[key], seed) if measured[key] else missing[key] for key in CATALOG
    }
    return Scores(
        repeats=[repeat.name for repeat in repeats],
        figures=figures,
        per_class=mean_per_class(classes) if classes else None,
        examples=examples,
    )


def _measure(
    repeat: Repeat, truth: Truth, networks: Networks
) -> tuple[dict[str, Measured | NotComputed], PerClass | None, Videos | None]:
    figures = measure_identification(repeat, truth)
    concepts, per_class = measure_concepts(repeat, truth)
    figures |= concepts
    figures |= measure_masks(repeat, truth)
    figures |= measure_captions(repeat, truth)
    figures |= _verbs(repeat, truth, networks)
    videos = reconstruct(repeat, truth.sizes, networks.pretrained)
    if isinstance(videos, str):
        keys = (*PIXELS, "clip_pcc", *FRAMES, *VIDEOS)
        return figures | {key: NotComputed(videos) for key in keys}, per_class, None
    figures |= measure_pixels(videos, truth)
    if networks.pretrained is None:
        figures["clip_pcc"] = NotComputed("no CLIP: name one with --pretrained")
    else:
        figures |= measure_consistency(
            videos, truth, networks.pretrained, networks.in_truth["clip"]
        )
    if networks.images is None:
        why = NotComputed("no image classifier: name one with --image-classifier")
        figures |= dict.fromkeys(FRAMES, why)
    else:
        seen = networks.in_truth["frame"]
        figures |= measure_classes("frame", videos, truth, networks.images, seen)
    if networks.videos is None:
        why = NotComputed("no video classifier: name one with --video-classifier")
        figures |= dict.fromkeys(VIDEOS, why)
    else:
        seen = networks.in_truth["video"]
        figures |= measure_classes("video", videos, truth, networks.videos, seen)
    return figures, per_class, videos


def _verbs(repeat: Repeat, truth: Truth, networks: Networks) -> dict[str, Measured | NotComputed]:
    finder, path = networks.verbs, networks.word_vectors
    if finder is None:
        return {"verb_accuracy": NotComputed("no part-of-speech tagger: name one with --nltk")}
    if path is None:
        return {"verb_accuracy": NotComputed("no word vectors: name them with --word-vectors")}
    found = captions(repeat)
    said = found[1] if found else []
    true = [truth.captions[clip] for clip in repeat.clip]
    words = {verb for caption in (*said, *true) for verb in finder.verbs(caption)}
    return measure_verbs(repeat, truth, finder, read_vectors(path, words))


def _shown(firsts: Sequence[Repeat]) -> list[int]:
    """Clips that all repeats contain, spread evenly over the test set and not chosen by quality."""
    common = sorted(set.intersection(*(set(repeat.clip.tolist()) for repeat in firsts)))
    places = np.linspace(0, len(common) - 1, min(N_EXAMPLE, len(common))).round().astype(int)
    return [common[place] for place in np.unique(places)]


def _examples(
    repeat: Repeat, truth: Truth, videos: Videos | None, shown: Sequence[int]
) -> list[Example]:
    examples = []
    for clip in shown:
        result = repeat.results[int(np.searchsorted(repeat.clip, clip))]
        frames = None
        if videos is not None and clip in videos.clip:
            frames = videos.frames[int(np.searchsorted(videos.clip, clip))]
        best = sorted((result.concepts or {}).items(), key=lambda item: -item[1])[:3]
        examples.append(
            Example(
                clip=clip,
                true_caption=truth.captions[clip],
                caption=caption_of(result),
                true_frames=truth.frames[clip],
                frames=frames,
                labels=[int(label) for label in np.flatnonzero(truth.labels[clip])],
                concepts=dict(best),
            )
        )
    return examples
