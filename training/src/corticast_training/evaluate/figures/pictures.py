"""Reconstructed videos: their pixels, and what classifiers see in them."""

from dataclasses import replace
from functools import partial

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


def measure_consistency(videos: Videos, truth: Truth, pretrained: Pretrained) -> Figures:
    """CLIP-pcc, beside that of the true clips."""

    def pcc(frames: NDArray[np.uint8]) -> float:
        return clip_pcc(np.asarray(pretrained.image_embed(frames)))

    found = np.array([pcc(frames) for frames in videos.frames])
    true = float(np.mean([pcc(truth.frames[clip]) for clip in videos.clip]))
    return {
        "clip_pcc": measure(
            videos.clip,
            lambda order: found,
            n_shuffle=0,
            chance=true,
            chance_of=f"the true clips; s.d. over videos {found.std():.3f}",
        )
    }


def measure_frames(videos: Videos, truth: Truth, classify: Classifier) -> Figures:
    """n-way top-1 of the image classifier, mean over the frames of a clip."""
    found = np.stack([classify(frames) for frames in videos.frames])
    true = np.stack([classify(truth.frames[clip]) for clip in videos.clip])
    return _ways("frame", videos.clip, found, true)


def measure_videos(videos: Videos, truth: Truth, classify: Classifier) -> Figures:
    """n-way top-1 of the video classifier."""
    found = np.stack([classify(frames) for frames in videos.frames])[:, None]
    true = np.stack([classify(truth.frames[clip]) for clip in videos.clip])[:, None]
    return _ways("video", videos.clip, found, true)


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
