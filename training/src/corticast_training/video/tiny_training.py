"""Trains the tiny UNet and SparseCtrl as a denoiser of a movie's clips.

This is enough for a few steps of sampling to stay bounded and to resemble the input, and for
nothing more. A clip's key frame goes in through SparseCtrl, its caption through the
text encoder, and now and then the negative prompt takes the caption's place, so that guidance has
something to compare with.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corticast_training.errors import TrainingError
from corticast_training.progress import progress
from corticast_training.targets import bpe
from corticast_training.video import sampling, wrappers
from corticast_training.video.config import VideoConfig
from corticast_training.video.tiny_networks import TinyNetworks

BATCH, WARM_UP, MAX_LEARNING_RATE = 4, 20, 2e-3
DROP_CAPTION = 0.15
KEEP_AVERAGE = 0.98
"""Of the moving average of the weights, which is what is exported."""
KEY_NOISE = 0.05
"""Added to key frames in training: the real ones come from a decoder, not from the movie."""


@dataclass(frozen=True)
class Material:
    """Clips as the networks see them."""

    latents: Tensor
    """`[n, 4, F', l, l]`, scaled, F' = 3F - 2 frames."""
    contexts: Tensor
    """`[n, 77, D]`"""
    negative: Tensor
    """`[1, 77, D]`"""


def encode_frames(networks: TinyNetworks, frames: NDArray[np.uint8], scale: float) -> Tensor:
    """Frames u8 `[n, F, h, w, 3]` to scaled latents `[n, 4, 3F - 2, h/8, w/8]`, the mode's."""
    pixels = torch.from_numpy(np.array(frames)).permute(0, 1, 4, 2, 3).float() / 255
    found = []
    for clip in pixels:
        many = sampling.between_frames(clip[None])[0]
        mean, _ = networks.vae.vae.encode(2 * many - 1)
        found.append((scale * mean).permute(1, 0, 2, 3))
    return torch.stack(found)


@torch.no_grad()
def encode_texts(networks: TinyNetworks, texts: list[str]) -> Tensor:
    """Prompts to contexts `[n, 77, D]`."""
    wrapper = wrappers.TextEncoder(networks.text_encoder)
    ids = torch.from_numpy(np.stack([bpe.sd15_ids(text) for text in texts]))
    return torch.cat([wrapper(part) for part in torch.split(ids, 64)])


def material(
    networks: TinyNetworks, frames: NDArray[np.uint8], captions: list[str], config: VideoConfig
) -> Material:
    """Encodes clips. Raises `TrainingError` where they do not fit the set."""
    n, n_frame, height, width, _ = frames.shape
    edge = 8 * config.latent
    if (height, width) != (edge, edge) or 3 * n_frame - 2 != config.frames:
        raise TrainingError(
            f"clips have {n_frame} frames of {height}x{width} pixels, expected "
            f"{(config.frames + 2) // 3} of {edge}x{edge}"
        )
    if n != len(captions):
        raise TrainingError(f"{n} clips have {len(captions)} captions, expected one each")
    prompts = [caption + config.prompt_suffix for caption in captions]
    return Material(
        latents=encode_frames(networks, frames, config.vae_scale),
        contexts=encode_texts(networks, prompts),
        negative=encode_texts(networks, [config.negative_prompt]),
    )


def train(
    networks: TinyNetworks, clips: Material, config: VideoConfig, n_step: int, seed: int
) -> float:
    """Trains in place; returns the mean loss of the last tenth. A linear estimate has 1."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    parts = nn.ModuleDict({"unet": networks.unet, "controlnet": networks.controlnet}).train()
    parameters = [p for p in parts.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=MAX_LEARNING_RATE, weight_decay=1e-4)
    average = [p.detach().clone() for p in parameters]
    fractions = torch.from_numpy(sampling.signal_fractions(config)).float()
    losses = []
    for step in progress(range(n_step), n_step, "tiny video networks"):
        rate = min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / n_step))
        for group in optimiser.param_groups:
            group["lr"] = MAX_LEARNING_RATE * max(rate, 0.01)
        loss = _loss(networks, clips, fractions, rng)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss is not finite at step {step}: try another --seed")
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        losses.append(loss.item())
        keep = min(KEEP_AVERAGE, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - keep)
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)
    parts.eval()
    return float(np.mean(losses[-max(1, n_step // 10) :]))


def _loss(
    networks: TinyNetworks, clips: Material, fractions: Tensor, rng: torch.Generator
) -> Tensor:
    """Squared error of the pictures of a batch, over that of a linear estimate.

    Every clip is at a timestep of its own; `fractions` is ᾱ at each.
    """
    pick = torch.randint(len(clips.latents), (BATCH,), generator=rng)
    clean, context = clips.latents[pick], clips.contexts[pick]
    dropped = torch.rand(BATCH, generator=rng) < DROP_CAPTION
    context = torch.where(dropped[:, None, None], clips.negative, context)
    timestep = torch.randint(len(fractions), (BATCH,), generator=rng)
    fraction = fractions[timestep][:, None, None, None, None]
    noise = torch.randn(clean.shape, generator=rng)
    key = clean[:, :, :1]
    key = key + KEY_NOISE * torch.rand((), generator=rng) * torch.randn(key.shape, generator=rng)
    n_frame = clean.shape[2]
    *down, middle = wrappers.ControlNet(networks.controlnet)(
        timestep, context, *conditions(key, n_frame), torch.tensor(1.0)
    )
    found, spread = networks.unet.clean(
        fraction.sqrt() * clean + (1 - fraction).sqrt() * noise,
        timestep,
        encoder_hidden_states=context.repeat_interleave(n_frame, dim=0),
        down_block_additional_residuals=tuple(down),
        mid_block_additional_residual=middle,
    )
    loss: Tensor = (((found - clean) / spread) ** 2).mean()
    return loss


def conditions(key: Tensor, n_frame: int) -> tuple[Tensor, Tensor]:
    """SparseCtrl's `cond` and `mask` of key frames `[B, 4, 1, h, w]`."""
    batch, channels, _, height, width = key.shape
    cond = torch.zeros(batch, channels, n_frame, height, width)
    mask = torch.zeros(batch, 1, n_frame, height, width)
    cond[:, :, :1], mask[:, :, 0] = key, 1.0
    return cond, mask


def predictor(
    networks: TinyNetworks, key: Tensor, context: Tensor, negative: Tensor, guidance: float | None
) -> Callable[[Tensor, int], Tensor]:
    """Noise as one step of the daemon predicts it; without guidance where that is `None`."""
    scale = torch.tensor(1.0)
    plain = wrappers.DenoiseStepPlain(networks.unet, networks.controlnet)
    guided = wrappers.DenoiseStep(networks.unet, networks.controlnet)

    @torch.no_grad()
    def predict(latents: Tensor, timestep: int) -> Tensor:
        cond, mask = conditions(key, latents.shape[2])
        when = torch.tensor([timestep])
        if guidance is None:
            noise: Tensor = plain(latents, when, context, cond, mask, scale)
        else:
            both = torch.cat([negative, context])
            noise = guided(latents, when, both, cond, mask, scale, torch.tensor(guidance))
        return noise

    return predict
