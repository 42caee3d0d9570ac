"""The tiny UNet: predicts noise, as the real one does, by first estimating the picture.

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

STILL_VARIANCE = (0.022, 0.013, 0.012, 0.087)
"""Of the mean over frames about the key frame, for each channel of a latent, in `synth`'s clips."""
MOTION_VARIANCE = (0.011, 0.007, 0.007, 0.039)
"""Of frames about that mean."""


class TinyUnet(UNetMotionModel):
    """A motion UNet around which the linear estimate is taken off and put on again."""

    def clean(self, sample: Tensor, timestep: Tensor, **conditions: Any) -> tuple[Tensor, Tensor]:
        """Latents without their noise `[B, 4, F, h, w]`, and how far off the linear estimate is.

        `sample` has the noise of `timestep` `[1]` or `[B]`; the second is a standard deviation,
        `[1, 4, 1, 1, 1]` or `[B, 4, 1, 1, 1]`.
        """
        network: Any = super()
        fraction = _fractions()[timestep]
        noise, n_frame = 1 - fraction, sample.shape[2]
        key = key_frames(conditions["down_block_additional_residuals"], sample)
        away = sample - fraction.sqrt() * key
        still = away.mean(2, keepdim=True)
        still_variance, motion_variance = (
            _of_channels(STILL_VARIANCE),
            _of_channels(MOTION_VARIANCE),
        )
        both = still_variance * fraction + noise / n_frame
        one = motion_variance * fraction + noise
        linear = key + fraction.sqrt() * (
            still_variance / both * still + motion_variance / one * (away - still)
        )
        spread = (noise * (still_variance / n_frame / both + motion_variance / one)).sqrt()
        found = network.forward(sample, timestep, **{**conditions, "return_dict": False})[0]
        return linear + spread * found, spread

    def forward(self, sample: Tensor, timestep: Tensor, **conditions: Any) -> tuple[Tensor]:
        """The noise in latents `[B, 4, F, h, w]`."""
        fraction = _fractions()[timestep]
        clean, _ = self.clean(sample, timestep, **conditions)
        return ((sample - fraction.sqrt() * clean) / (1 - fraction).sqrt(),)


def _of_channels(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values)[None, :, None, None, None]


@functools.cache
def _fractions() -> Tensor:
    """ᾱ of the preset's schedule, `[n_step, 1, 1, 1, 1]`."""
    return torch.from_numpy(signal_fractions(VideoConfig.load())).float()[:, None, None, None, None]
