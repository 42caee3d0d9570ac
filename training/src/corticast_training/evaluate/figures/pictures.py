"""Reconstructed videos: their pixels, and the classes that classifiers find in them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corticast_training.evaluate import n_way
from corticast_training.evaluate.classifiers import Classifier
from corticast_training.evaluate.consistency import clip_pcc
from corticast_training.evaluate.pixels import psnr_db, resized, ssim_2d, ssim_neurons
from corticast_training.evaluate.reconstruction import Videos
from corticast_training.evaluate.statistics import Measured, NotComputed, Order, known, measure
from corticast_training.evaluate.truth import Truth
from corticast_training.targets.pretrained import Pretrained

Figures = dict[str, Measured | NotComputed]
Seen = dict[int, NDArray[Any]]
"""What one network saw in true clips, by clip: it is the same for every repeat and system."""

WAYS = {"2way": 2, "50way": 50}
N_DRAW = 100
N_SHUFFLE_PIXELS = 3
"""SSIM of 1,200 videos takes minutes: three shuffles of all clips are enough for a mean."""


def measure_pixels(videos: Videos, truth: Truth) -> Figures:
    """SSIM in both forms and PSNR, mean over the frames of a clip; equal frames have no PSNR."""
    height, width = videos.frames.shape[2:4]
    true = [resized(truth.frames[clip], height, width) for clip in videos.clip]

    def rows(order: Order) -> NDArray[np.float64]:
        pairs = zip(videos.frames, order, strict=True)
        scores = np.array([_pixels(found, true[other]) for found, other in pairs])
        return np.concatenate([known(each) for each in scores.T], axis=1)

    whole = measure(videos.clip, rows, n_shuffle=N_SHUFFLE_PIXELS)
    return {
        key: replace(
            whole,
            rows=whole.rows[:, 2 * k : 2 * k + 2],
            shuffled=[rows[:, 2 * k : 2 * k + 2] for rows in whole.shuffled],
        )
        for k, key in enumerate(("ssim_neurons", "ssim_2d", "psnr_db"))
    }


def _pixels(found: NDArray[np.uint8], true: NDArray[np.uint8]) -> list[float]:
    frames = list(zip(found, true, strict=True))
    decibels = [psnr_db(a, b) for a, b in frames]
    finite = [value for value in decibels if np.isfinite(value)]
    return [
        float(np.mean([ssim_neurons(a, b) for a, b in frames])),
        float(np.mean([ssim_2d(a, b) for a, b in frames])),
        float(np.mean(finite)) if finite else float("nan"),
    ]


def measure_consistency(
    videos: Videos, truth: Truth, pretrained: Pretrained, seen: Seen
) -> Figures:
    """CLIP-pcc, and that of the true clips for comparison."""

    def pcc(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.array(clip_pcc(np.asarray(pretrained.image_embed(frames))))

    found = np.stack([pcc(frames) for frames in videos.frames])
    true = float(_in_truth(pcc, videos, truth, seen).mean())
    return {
        "clip_pcc": measure(
            videos.clip,
            lambda order: found,
            n_shuffle=0,
            chance=true,
            chance_of=f"the true clips; s.d. over videos {found.std():.3f}",
        )
    }


def measure_classes(
    kind: str, videos: Videos, truth: Truth, classify: Classifier, seen: Seen
) -> Figures:
    """n-way top-1 of a classifier: of each frame, mean over a clip's, or of a video as a whole.

    `classify` gives logits `[F, n_class]` or `[n_class]` of frames `[F, h, w, 3]`; `kind` is
    `frame` or `video`.
    """
    found = np.stack([classify(frames) for frames in videos.frames])
    true = _in_truth(classify, videos, truth, seen)
    n, n_class = len(found), found.shape[-1]
    return _ways(kind, videos.clip, found.reshape(n, -1, n_class), true.reshape(n, -1, n_class))


def _in_truth(
    look: Callable[[NDArray[np.uint8]], NDArray[Any]], videos: Videos, truth: Truth, seen: Seen
) -> NDArray[Any]:
    """A network's output for the true clips of `videos`; each clip is classified once."""
    for clip in videos.clip:
        if int(clip) not in seen:
            seen[int(clip)] = look(truth.frames[clip])
    return np.stack([seen[int(clip)] for clip in videos.clip])


def _ways(
    kind: str, clip: NDArray[np.int64], found: NDArray[np.floating], true: NDArray[np.floating]
) -> Figures:
    """Scores logits `[n, F, n_class]` against those of the truth."""
    classes = n_way.true_classes(true)
    figures: Figures = {}
    for name, n in WAYS.items():
        n_class = found.shape[-1]
        if n_class < n + n_way.TRUE_CLASSES - 1:
            why = NotComputed(f"the classifier has {n_class} classes, too few for {n}-way")
            figures |= {f"{kind}_{name}": why, f"{kind}_{name}_sampled": why}
            continue
        rows = partial(_exact, found, classes, n)
        told = {"chance": n_way.chance(n), "chance_of": f"noise: 3 right ones of {n + 2}"}
        figures[f"{kind}_{name}"] = measure(clip, rows, n_shuffle=20, **told)  # type: ignore[arg-type]
        drawn = partial(_drawn, found, classes, n)
        figures[f"{kind}_{name}_sampled"] = measure(clip, drawn, n_shuffle=1, **told)  # type: ignore[arg-type]
    return figures


def _exact(
    found: NDArray[np.floating], classes: NDArray[np.int64], n: int, order: Order
) -> NDArray[np.float64]:
    return np.asarray(n_way.exact(found, classes[order], n, 1).mean(axis=1))


def _drawn(
    found: NDArray[np.floating], classes: NDArray[np.int64], n: int, order: Order
) -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    n_class = found.shape[-1]
    rows = []
    for k, other in enumerate(order):
        shares = []
        for scores, true in zip(found[k], classes[other], strict=True):
            picks = n_way.draw_picks(n_class, true, n, N_DRAW, rng)
            shares.append(n_way.sampled(scores, true, picks, 1).mean())
        rows.append(float(np.mean(shares)))
    return np.array(rows)
