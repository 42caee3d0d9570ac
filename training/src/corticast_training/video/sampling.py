"""Sampling with a trained noise predictor, to judge the tiny networks.

The daemon has its own, in Rust; this one follows the same formulas. Schedule: betas linear in the
step, ᾱ their cumulative product in f64 (Ho et al. 2020); DDIM with η = 0 (Song et al. 2021); LCM
as in Luo et al. 2023 with the boundary condition's scaled timestep.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corticast_training.video.config import VideoConfig

Predict = Callable[[Tensor, int], Tensor]
"""Noise in latents `[1, 4, F, h, w]` at a timestep."""


def signal_fractions(config: VideoConfig) -> NDArray[np.float64]:
    """ᾱ at every training step."""
    betas = np.linspace(config.beta_start, config.beta_end, config.train_steps)
    fractions = np.cumprod(1 - betas)
    return fractions.astype(np.float64)


def add_noise(latents: Tensor, noise: Tensor, fraction: float) -> Tensor:
    """√ᾱ x + √(1 - ᾱ) ε."""
    return math.sqrt(fraction) * latents + math.sqrt(1 - fraction) * noise


def ddim_timesteps(config: VideoConfig, n_step: int, strength: float = 1.0) -> list[int]:
    """Spacing "leading", noisiest first; of these the last int(n_step · strength)."""
    stride = config.train_steps // n_step
    timesteps = [k * stride + config.steps_offset for k in reversed(range(n_step))]
    return timesteps[n_step - min(int(n_step * strength), n_step) :]


def ddim(
    config: VideoConfig, predict: Predict, start: Tensor, n_step: int, strength: float = 1.0
) -> Tensor:
    """All steps from `start` on, which is as noisy as the first of `ddim_timesteps`."""
    fractions, stride = signal_fractions(config), config.train_steps // n_step
    latents = start
    for timestep in ddim_timesteps(config, n_step, strength):
        here = float(fractions[timestep])
        before = float(fractions[timestep - stride]) if timestep >= stride else 1.0
        noise = predict(latents, timestep)
        clean = (latents - math.sqrt(1 - here) * noise) / math.sqrt(here)
        latents = add_noise(clean, noise, before)
    return latents


def lcm_timesteps(config: VideoConfig, n_step: int) -> list[int]:
    """The consistency solver's grid, thinned to `n_step`, noisiest first."""
    stride = config.train_steps // config.lcm_original_steps
    grid = [(k + 1) * stride - 1 for k in range(config.lcm_original_steps)][::-1]
    positions = np.floor(np.linspace(0, len(grid), num=n_step, endpoint=False)).astype(int)
    return [grid[k] for k in positions]


def lcm(
    config: VideoConfig, predict: Predict, start: Tensor, n_step: int, generator: torch.Generator
) -> Tensor:
    """Few steps: each goes all the way to clean latents, all but the last noise them again."""
    fractions, timesteps = signal_fractions(config), lcm_timesteps(config, n_step)
    latents = start
    for k, timestep in enumerate(timesteps):
        here, sigma = float(fractions[timestep]), config.lcm_sigma_data
        clean = (latents - (1 - here) ** 0.5 * predict(latents, timestep)) / here**0.5
        scaled = timestep * config.lcm_timestep_scaling
        skip = sigma**2 / (scaled**2 + sigma**2)
        out = scaled / (scaled**2 + sigma**2) ** 0.5
        latents = out * clean + skip * latents
        if k + 1 < len(timesteps):
            noise = torch.randn(latents.shape, generator=generator)
            latents = add_noise(latents, noise, float(fractions[timesteps[k + 1]]))
    return latents


def between_frames(frames: Tensor) -> Tensor:
    """F frames to 3F - 2: two between each pair, with the reference's weights 0.67 and 0.33.

    `[n, F, …]` in, `[n, 3F - 2, …]` out.
    """
    found = [frames[:, 0]]
    for k in range(frames.shape[1] - 1):
        here, there = frames[:, k], frames[:, k + 1]
        found += [0.67 * here + 0.33 * there, 0.33 * here + 0.67 * there, there]
    return torch.stack(found, 1)
