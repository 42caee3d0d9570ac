"""The prior's diffusion: cosine schedule, adding noise, and the two ways to sample.

Nichol & Dhariwal 2021 for the schedule, Ho et al. 2020 for DDPM, Song et al. 2021 for DDIM.
The network predicts x0; there is no guidance and no clamping. The caller supplies all noise, so
that a sample can be repeated.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from corticast_training.errors import TrainingError

OFFSET = 0.008

Network = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Noisy `[B, N, C]`, timestep i64 `[B]`, brain `[B, N, C]` to x0 `[B, N, C]`."""


class Step(NamedTuple):
    """One step of sampling."""

    timestep: int
    pred_x0: Tensor
    sample: Tensor
    """What the next step starts from."""


class CosineSchedule:
    """Noise levels of `steps` steps, computed in f64 and used in f32. All tensors `[steps]`."""

    def __init__(self, steps: int) -> None:
        if steps < 1:
            raise TrainingError(f"prior steps are {steps}, expected 1 or more")
        self.steps = steps
        x = torch.linspace(0, steps, steps + 1, dtype=torch.float64) / steps
        level = torch.cos((x + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2
        level = level / level[0]
        beta = (1 - level[1:] / level[:-1]).clamp(0, 0.999)
        kept = (1 - beta).cumprod(0)
        before = torch.cat((torch.ones(1, dtype=torch.float64), kept[:-1]))
        variance = beta * (1 - before) / (1 - kept)

        self.betas = beta.float()
        self.alphas_cumprod = kept.float()
        self.sqrt_kept = kept.sqrt().float()
        self.sqrt_noise = (1 - kept).sqrt().float()
        self.coef_x0 = (beta * before.sqrt() / (1 - kept)).float()
        self.coef_xt = ((1 - before) * (1 - beta).sqrt() / (1 - kept)).float()
        self.log_var = variance.clamp(min=1e-20).log().float()

    def q_sample(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x0 `[B, ...]` with the noise of step `t`, i64 `[B]`."""
        shape = (-1,) + (1,) * (x0.dim() - 1)
        kept = self.sqrt_kept.to(x0.device)[t].reshape(shape)
        added = self.sqrt_noise.to(x0.device)[t].reshape(shape)
        return kept * x0 + added * noise

    def ddpm(
        self, net: Network, brain: Tensor, x_T: Tensor, noise: Tensor | torch.Generator
    ) -> Tensor:
        """A sample `[B, N, C]` in all steps; see `ddpm_steps`."""
        sample = x_T
        for step in self.ddpm_steps(net, brain, x_T, noise):
            sample = step.sample
        return sample

    def ddpm_steps(
        self, net: Network, brain: Tensor, x_T: Tensor, noise: Tensor | torch.Generator
    ) -> Iterator[Step]:
        """Every step from the last timestep to 0.

        `noise` is `[steps, B, N, C]` in the order of use, its last entry unused, or a generator
        that it is drawn from.
        """
        x = x_T
        for k, t in enumerate(reversed(range(self.steps))):
            pred_x0 = net(x, _timesteps(x, t), brain)
            x = float(self.coef_x0[t]) * pred_x0 + float(self.coef_xt[t]) * x
            if t > 0:
                drawn = _draw(noise, x) if isinstance(noise, torch.Generator) else noise[k]
                x = x + math.exp(0.5 * float(self.log_var[t])) * drawn
            yield Step(t, pred_x0, x)

    def ddim(self, net: Network, brain: Tensor, x_T: Tensor, n_steps: int) -> Tensor:
        """A sample `[B, N, C]` in fewer steps and without further noise (η = 0)."""
        x = x_T
        times = self.ddim_timesteps(n_steps)
        for t, following in zip(times, [*times[1:], None], strict=True):
            pred_x0 = net(x, _timesteps(x, t), brain)
            if following is None:
                return pred_x0
            noise = (x - float(self.sqrt_kept[t]) * pred_x0) / float(self.sqrt_noise[t])
            x = float(self.sqrt_kept[following]) * pred_x0
            x = x + float(self.sqrt_noise[following]) * noise
        return x

    def ddim_timesteps(self, n_steps: int) -> list[int]:
        """Evenly spaced timesteps, the noisiest first: `k * steps / n_steps - 1`, rounded down."""
        if not 1 <= n_steps <= self.steps:
            raise TrainingError(f"DDIM steps are {n_steps}, expected 1 to {self.steps}")
        return [k * self.steps // n_steps - 1 for k in range(n_steps, 0, -1)]


def _timesteps(x: Tensor, t: int) -> Tensor:
    return torch.full((len(x),), t, dtype=torch.int64, device=x.device)


def _draw(generator: torch.Generator, like: Tensor) -> Tensor:
    drawn = torch.randn(like.shape, generator=generator, device=generator.device)
    return drawn.to(like)
