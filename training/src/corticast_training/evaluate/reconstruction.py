"""Blurry videos: decoded latents, brightened where the key object is, through the VAE's decoder."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corticast_training.config import Sizes
from corticast_training.errors import TrainingError
from corticast_training.evaluate.join import Repeat
from corticast_training.evaluate.masks import nearest
from corticast_training.evaluate.pixels import SMALLEST_PX, resized
from corticast_training.evaluate.results import Result
from corticast_training.progress import progress
from corticast_training.targets.pretrained import Pretrained


@dataclass(frozen=True)
class Videos:
    """Reconstructed videos of one repeat."""

    clip: NDArray[np.int64]
    """Shape `[n]`, ascending."""
    frames: NDArray[np.uint8]
    """Shape `[n, F, h, w, 3]`."""


def reconstruct(repeat: Repeat, sizes: Sizes, pretrained: Pretrained | None) -> Videos | str:
    """Videos of all results that contain frames or latents, or the reason why there are none."""
    clips, videos = [], []
    results = progress(repeat.results, len(repeat.results), f"pictures of {repeat.name}")
    for clip, result in zip(repeat.clip, results, strict=True):
        names = result.tensor_names()
        if "frames" in names:
            video = _frames(result, sizes)
        elif "latents" in names and pretrained is not None:
            video = _decoded(result, names, sizes, pretrained)
        elif "latents" in names:
            return "no VAE: name one with --pretrained"
        else:
            continue
        clips.append(clip)
        videos.append(video)
    if not videos:
        return "results hold neither `latents` nor `frames`"
    return Videos(np.array(clips, dtype=np.int64), np.stack(videos))


def _frames(result: Result, sizes: Sizes) -> NDArray[np.uint8]:
    frames = result.tensor("frames", (sizes.n_frame, -1, -1, 3))
    if frames.dtype != np.uint8 or min(frames.shape[1:3]) < SMALLEST_PX:
        raise TrainingError(
            f"{result.conditions}: frames are {list(frames.shape)} of {frames.dtype}, expected "
            f"uint8 of at least {SMALLEST_PX} x {SMALLEST_PX} px"
        )
    return resized(frames, sizes.image, sizes.image)


def _decoded(
    result: Result, names: list[str], sizes: Sizes, pretrained: Pretrained
) -> NDArray[np.uint8]:
    edge = sizes.latent
    latents = result.tensor("latents", (sizes.n_frame, 4, edge, edge)).astype(np.float32)
    if "mask" in names:
        mask = nearest(result.tensor("mask", (sizes.n_frame, -1, -1)), edge)
        latents *= (mask[:, None].astype(np.float32) + 1) / 2
    return np.asarray(pretrained.vae_decode(latents), dtype=np.uint8)
