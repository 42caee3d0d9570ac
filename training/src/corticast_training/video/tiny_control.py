"""The tiny SparseCtrl: passes on the key frame itself and the output of its layers.

A SparseCtrl that is trained for minutes would not learn that a clip looks like its
key frame. So the first residual, which has the size of the latents, carries the key frame in its
first four channels, for every frame of the clip, and the tiny UNet takes it from there.
"""

from typing import Any

import torch
from diffusers import SparseControlNetModel
from torch import Tensor

KEY_CHANNELS = 4
"""Of the first residual, those of a latent."""


class TinySparseCtrl(SparseControlNetModel):
    """SparseCtrl that adds the mean of the key frames to its first residual."""

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        *,
        controlnet_cond: Tensor,
        conditioning_mask: Tensor,
        **others: Any,
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Residuals `[B·F, C, h, w]`, and the middle one apart; latents are `[B, 4, F, h, w]`."""
        network: Any = super()
        down, middle = network.forward(
            sample,
            timestep,
            controlnet_cond=controlnet_cond,
            conditioning_mask=conditioning_mask,
            **others,
        )
        n_key = conditioning_mask.sum(2, keepdim=True).clamp(min=1)
        key = (controlnet_cond * conditioning_mask).sum(2, keepdim=True) / n_key
        frames = key.expand_as(controlnet_cond).transpose(1, 2).flatten(0, 1)
        first = torch.cat([down[0][:, :KEY_CHANNELS] + frames, down[0][:, KEY_CHANNELS:]], 1)
        return (first, *down[1:]), middle


def key_frames(residuals: tuple[Tensor, ...], sample: Tensor) -> Tensor:
    """The key frame of each frame of latents `[B, 4, F, h, w]`, from the residuals."""
    batch, _, n_frame = sample.shape[:3]
    key: Tensor = residuals[0][:, :KEY_CHANNELS].unflatten(0, (batch, n_frame))
    return key.transpose(1, 2)
