"""Concepts, masks and captions: decoded values compared with the labels of the clip."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from corticast_training.errors import TrainingError
from corticast_training.evaluate import text
from corticast_training.evaluate.concepts import THRESHOLD, PerClass, per_class, top1, top1_chance
from corticast_training.evaluate.figures.held import holding
from corticast_training.evaluate.join import Repeat
from corticast_training.evaluate.masks import iou, nearest
from corticast_training.evaluate.results import Result
from corticast_training.evaluate.statistics import (
    Measured,
    NotComputed,
    Order,
    measure,
    ratio,
)
from corticast_training.evaluate.truth import Truth
from corticast_training.evaluate.verbs import Vectors, VerbFinder, verb_hits
from corticast_training.labels.classes import CLASSES
from corticast_training.targets.bpe import read_caption

Figures = dict[str, Measured | NotComputed]


def probabilities(repeat: Repeat) -> tuple[Repeat, NDArray[np.float64]] | None:
    """The results with concepts, and their probabilities `[n, 51]`."""
    has = np.array([result.concepts is not None for result in repeat.results])
    if not has.any():
        return None
    results = [result for result in repeat.results if result.concepts is not None]
    rows = [_in_order(result) for result in results]
    return Repeat(repeat.name, repeat.clip[has], results), np.array(rows)


def _in_order(result: Result) -> list[float]:
    concepts = result.concepts or {}
    if set(concepts) != set(CLASSES):
        odd = sorted(set(concepts) ^ set(CLASSES))
        raise TrainingError(
            f"{result.run}, volume {result.index}: concepts differ from the {len(CLASSES)} "
            f"classes in {len(odd)} names, such as {odd[0]!r}: were they decoded by NEURONS?"
        )
    return [concepts[name] for name in CLASSES]


def measure_concepts(repeat: Repeat, truth: Truth) -> tuple[Figures, PerClass | None]:
    """Top-1 against the clip's labels, and scores of each class."""
    found = probabilities(repeat)
    if found is None:
        why = NotComputed("results hold no concepts")
        return dict.fromkeys(("concept_top1", "concept_found", "concept_false_alarm"), why), None
    part, said = found
    labels, above = truth.labels[part.clip], said > THRESHOLD
    common = CLASSES[truth.common_label]
    always = labels[labels.any(axis=1), truth.common_label]
    share = float(always.mean()) if len(always) else float("nan")
    figures: Figures = {
        "concept_top1": measure(
            part.clip,
            lambda order: top1(said, labels[order]),
            chance=top1_chance(labels),
            chance_of=f"any class; always {common!r} reaches {share:.3f}",
        ),
        "concept_found": measure(
            part.clip,
            lambda order: np.concatenate([above & labels[order], labels[order]], axis=1) * 1.0,
            reduce=_mean_share,
        ),
        "concept_false_alarm": measure(
            part.clip,
            lambda order: np.concatenate([above & ~labels[order], ~labels[order]], axis=1) * 1.0,
            reduce=_mean_share,
            n_shuffle=0,
        ),
    }
    return figures, per_class(said, labels)


def _mean_share(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over classes of the share that is found, `[..., 102]` → `[...]`."""
    part, whole = np.split(totals, 2, axis=-1)
    shares = ratio(np.stack([part, whole], axis=-1))
    tells = np.isfinite(shares)
    total = np.where(tells, shares, 0.0).sum(axis=-1)
    return ratio(np.stack([total, tells.sum(axis=-1)], axis=-1))


def measure_masks(repeat: Repeat, truth: Truth) -> Figures:
    """IoU of the decoded key object with the true one, over clips that have one."""
    part = holding(repeat, "mask")
    if part is None:
        return {"mask_iou": NotComputed("results hold no `mask`")}
    edge, n_frame = truth.sizes.mask, truth.sizes.n_frame
    found = [nearest(result.tensor("mask", (n_frame, -1, -1)), edge) > 0 for result in part.results]
    true = truth.masks[part.clip] > 0
    if not true.any():
        return {"mask_iou": NotComputed("no clip of the test set has a key object")}

    def rows(order: Order) -> NDArray[np.float64]:
        return np.array([iou(found[k], true[other]) for k, other in enumerate(order)])

    return {"mask_iou": measure(part.clip, rows)}


def caption_of(result: Result) -> str | None:
    """The decoded caption, from the results line or from the ids in the file."""
    if result.caption is not None:
        return result.caption
    if "caption_ids" in result.tensor_names():
        return read_caption(int(token) for token in result.tensor("caption_ids", (-1,)))
    return None


def captions(repeat: Repeat) -> tuple[Repeat, list[str]] | None:
    """The results that have captions, and these captions."""
    said = [caption_of(result) for result in repeat.results]
    has = np.array([caption is not None for caption in said])
    if not has.any():
        return None
    results = [r for r, caption in zip(repeat.results, said, strict=True) if caption is not None]
    part = Repeat(repeat.name, repeat.clip[has], results)
    return part, [caption for caption in said if caption is not None]


def measure_captions(repeat: Repeat, truth: Truth) -> Figures:
    """BLEU-1..4 of the corpus and CIDEr-D, one true caption per clip."""
    found = captions(repeat)
    keys = [f"bleu_{n}" for n in range(1, text.N_GRAM + 1)]
    if found is None:
        return {key: NotComputed("results hold no captions") for key in [*keys, "cider_d"]}
    part, said = found
    candidates = [text.tokenise(caption) for caption in said]
    references = [[text.tokenise(truth.captions[clip])] for clip in part.clip]

    def counts(order: Order) -> NDArray[np.float64]:
        pairs = zip(candidates, order, strict=True)
        return np.stack([text.bleu_counts(one, references[other]) for one, other in pairs])

    def cider(order: Order) -> NDArray[np.float64]:
        return text.cider_d(candidates, [references[other] for other in order])

    whole = measure(part.clip, counts, n_shuffle=25)
    figures: Figures = {
        key: replace(whole, reduce=partial(_bleu, n=n)) for n, key in enumerate(keys, start=1)
    }
    figures["cider_d"] = measure(part.clip, cider, n_shuffle=25)
    return figures


def _bleu(totals: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    return np.asarray(text.bleu(totals)[..., n - 1])


def measure_verbs(repeat: Repeat, truth: Truth, finder: VerbFinder, vectors: Vectors) -> Figures:
    """Share of the decoded verbs that are near a true one."""
    found = captions(repeat)
    if found is None:
        return {"verb_accuracy": NotComputed("results hold no captions")}
    part, said = found
    decoded = [finder.verbs(caption) for caption in said]
    true = [finder.verbs(truth.captions[clip]) for clip in part.clip]
    if not any(decoded):
        return {"verb_accuracy": NotComputed("no decoded caption has a verb")}

    def rows(order: Order) -> NDArray[np.float64]:
        pairs = zip(decoded, order, strict=True)
        return np.array([verb_hits(one, true[other], vectors) for one, other in pairs], dtype=float)

    return {"verb_accuracy": measure(part.clip, rows, n_shuffle=25)}


def mean_per_class(each: Sequence[PerClass]) -> dict[str, Mapping[str, float | int | None]]:
    """Per-class shares as a mean over repeats, by class name; none where no clip counts."""

    def mean(values: NDArray[np.float64]) -> float | None:
        tell = values[np.isfinite(values)]
        return float(tell.mean()) if len(tell) else None

    return {
        name: {
            "found": mean(np.array([one.found[k] for one in each])),
            "false_alarm": mean(np.array([one.false_alarm[k] for one in each])),
            "n_clip": int(max(one.n_clip[k] for one in each)),
        }
        for k, name in enumerate(CLASSES)
    }
