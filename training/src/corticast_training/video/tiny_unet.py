"""The tiny UNet: noise out, as the real one gives it, but found by way of the picture.

From noise at ᾱ = 0.002 a picture comes out with twenty times the error of the noise, which a UNet
of this size would never get small enough. So its layers only correct what a linear estimate
finds (after Karras et al. 2022, section 5). A clip looks like its key frame; what its frames have
in common beside that is known better by √F than one frame, and what a frame has for itself varies
little. For both parts the best linear estimate from noisy latents is Wiener's.
"""

import functools
from typing import Any

import torch
from diffusers import UNetMotionModel
from torch import Tensor

from corticast_training.video.config import VideoConfig
from corticast_training.video.sampling import signal_fractions
from corticast_training.video.tiny_control import key_frames

STILL_VARIANCE, MOTION_VARIANCE = 0.03, 0.015
"""Of the mean over frames about the key frame, and of frames about it: the latents of `synth`."""


class TinyUnet(UNetMotionModel):
    """A motion UNet around which the linear estimate is taken off and put on again."""

    def clean(self, sample: Tensor, timestep: Tensor, **conditions: Any) -> tuple[Tensor, Tensor]:
        """Latents without their noise `[B, 4, F, h, w]`, and how far off the linear estimate is.

        `sample` has the noise of `timestep` `[1]` or `[B]`; the second is a standard deviation,
        `[1, 1, 1, 1, 1]` or `[B, 1, 1, 1, 1]`.
        """
        network: Any = super()
        fraction = _fractions()[timestep]
        noise, n_frame = 1 - fraction, sample.shape[2]
        key = key_frames(conditions["down_block_additional_residuals"], sample)
        away = sample - fraction.sqrt() * key
        still = away.mean(2, keepdim=True)
        both = STILL_VARIANCE * fraction + noise / n_frame
        one = MOTION_VARIANCE * fraction + noise
        linear = key + fraction.sqrt() * (
            STILL_VARIANCE / both * still + MOTION_VARIANCE / one * (away - still)
        )
        spread = (noise * (STILL_VARIANCE / n_frame / both + MOTION_VARIANCE / one)).sqrt()
        found = network.forward(sample, timestep, **{**conditions, "return_dict": False})[0]
        return linear + spread * found, spread

    def forward(self, sample: Tensor, timestep: Tensor, **conditions: Any) -> tuple[Tensor]:
        """The noise in latents `[B, 4, F, h, w]`."""
        fraction = _fractions()[timestep]
        clean, _ = self.clean(sample, timestep, **conditions)
        return ((sample - fraction.sqrt() * clean) / (1 - fraction).sqrt(),)


@functools.cache
def _fractions() -> Tensor:
    """ᾱ of the preset's schedule, `[n_step, 1, 1, 1, 1]`."""
    return torch.from_numpy(signal_fractions(VideoConfig.load())).float()[:, None, None, None, None]
