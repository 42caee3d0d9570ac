"""A picture of sampled clips: a row for each clip, a column for each way of sampling.

Columns, each a strip of frames: the clip; the clip through the VAE, the best possible; live
sampling in four and in eight steps; all of 25 steps under guidance, as the reference starts
(almost from noise); and its last seven steps from the blurred clip (`sdedit` at 0.3).
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from corticast_training.video import sampling
from corticast_training.video.config import VideoConfig
from corticast_training.video.tiny_networks import TinyNetworks
from corticast_training.video.tiny_training import Material, predictor

LIVE_STEPS = (4, 8)
REFERENCE_STEPS, STRENGTH = 25, 0.3
SHOWN = slice(0, None, 3)
"""Of the 3F - 2 frames: the F that the clip has."""


def write_samples(
    networks: TinyNetworks,
    frames: NDArray[np.uint8],
    clips: Material,
    config: VideoConfig,
    seed: int,
    path: Path,
) -> None:
    """Writes a PNG of frames u8 `[n, F, h, w, 3]` and their samples."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for k, clip in enumerate(frames):
        one = Material(clips.latents[k : k + 1], clips.contexts[k : k + 1], clips.negative)
        strips = [clip, *_samples(networks, one, config, generator)]
        rows.append(np.concatenate([picture for strip in strips for picture in strip], axis=1))
    Image.fromarray(np.concatenate(rows)).save(path)


def _samples(
    networks: TinyNetworks, clip: Material, config: VideoConfig, generator: torch.Generator
) -> list[NDArray[np.uint8]]:
    latents, context = clip.latents, clip.contexts
    noise = torch.randn(latents.shape, generator=generator)
    fractions = sampling.signal_fractions(config)

    def start(timestep: int) -> Tensor:
        return sampling.add_noise(latents, noise, float(fractions[timestep]))

    key = latents[:, :, :1]
    plain = predictor(networks, key, context, clip.negative, None)
    guided = predictor(networks, key, context, clip.negative, config.guidance)
    found = [latents]
    for n_step in LIVE_STEPS:
        first = sampling.lcm_timesteps(config, n_step)[0]
        found.append(sampling.lcm(config, plain, start(first), n_step, generator))
    for strength in (1.0, STRENGTH):
        timesteps = sampling.ddim_timesteps(config, REFERENCE_STEPS, strength)
        found.append(sampling.ddim(config, guided, start(timesteps[0]), REFERENCE_STEPS, strength))
    return [decode(networks, sample, config)[SHOWN] for sample in found]


@torch.no_grad()
def decode(networks: TinyNetworks, latents: Tensor, config: VideoConfig) -> NDArray[np.uint8]:
    """Latents `[1, 4, F, h, w]` to frames u8 `[F, 8h, 8w, 3]`."""
    images = networks.vae.decoder(latents[0].transpose(0, 1) / config.vae_scale)
    pixels = (images / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    found: NDArray[np.uint8] = (255 * pixels).to(torch.uint8).numpy()
    return found
