"""The networks as the daemon sees them: one module per graph, with the contract of its borders.

Latents are `[B, 4, F, h, w]`, B being 2 under guidance (unconditional first, then conditional).
A text context is `[B, 77, D]`; repeating it over the frames happens in here. Borders are f32
whatever the network computes in, except the residuals between SparseCtrl and UNet, which stay in
the network's type because they are the largest tensors of a step and never leave the device.
"""

import itertools
from typing import Any

import torch
from torch import Tensor, nn


def _type_of(module: nn.Module) -> torch.dtype:
    # A network whose weights are set has buffers only.
    return next(itertools.chain(module.parameters(), module.buffers())).dtype


class TextEncoder(nn.Module):
    """CLIP's text encoder: token ids `[B, 77]` to states `[B, 77, D]` after the last norm."""

    def __init__(self, text_encoder: nn.Module) -> None:
        super().__init__()
        self.text_encoder = text_encoder

    def forward(self, input_ids: Tensor) -> Tensor:
        states: Tensor = self.text_encoder(input_ids=input_ids, return_dict=False)[0]
        return states.float()


class _Control(nn.Module):
    """SparseCtrl's part of a step, shared by the split and the fused graphs."""

    def __init__(self, controlnet: nn.Module) -> None:
        super().__init__()
        self.controlnet = controlnet

    def residuals(
        self, timestep: Tensor, context: Tensor, cond: Tensor, mask: Tensor, scale: Tensor
    ) -> tuple[Tensor, ...]:
        """12 + 1 residuals `[B·F, C, h, w]`, frame fastest.

        `context` [B, 77, D]; `cond` [1, 4, F, h, w] and `mask` [1, 1, F, h, w] are the same for
        both halves of the guidance. SparseCtrl replaces the noisy latents by zeros, so they are
        no input: only their shape matters, and `cond` has it.
        """
        dtype = _type_of(self.controlnet)
        n_batch = context.shape[0]
        cond = cond.to(dtype).expand(n_batch, -1, -1, -1, -1)
        down, mid = self.controlnet(
            cond,
            timestep,
            encoder_hidden_states=context.to(dtype).repeat_interleave(cond.shape[2], dim=0),
            controlnet_cond=cond,
            conditioning_mask=mask.to(dtype).expand(n_batch, -1, -1, -1, -1),
            return_dict=False,
        )
        factor = scale.to(dtype)
        return (*(residual * factor for residual in down), mid * factor)


class ControlNet(_Control):
    """SparseCtrl alone: depends on timestep, text and key frame, never on the latents."""

    def forward(
        self, timestep: Tensor, context: Tensor, cond: Tensor, mask: Tensor, scale: Tensor
    ) -> tuple[Tensor, ...]:
        return self.residuals(timestep, context, cond, mask, scale)


def _noise(
    unet: nn.Module,
    sample: Tensor,
    timestep: Tensor,
    context: Tensor,
    residuals: tuple[Tensor, ...] = (),
) -> Tensor:
    """Noise that the UNet sees in `sample` [B, 4, F, h, w], in f32."""
    dtype = _type_of(unet)
    noise: Tensor = unet(
        sample.to(dtype),
        timestep,
        encoder_hidden_states=context.to(dtype).repeat_interleave(sample.shape[2], dim=0),
        down_block_additional_residuals=tuple(residuals[:-1]) if residuals else None,
        mid_block_additional_residual=residuals[-1] if residuals else None,
        return_dict=False,
    )[0]
    return noise.float()


class Unet(nn.Module):
    """The UNet with its motion modules and SparseCtrl's residuals."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self, sample: Tensor, timestep: Tensor, context: Tensor, *residuals: Tensor
    ) -> Tensor:
        return _noise(self.unet, sample, timestep, context, residuals)


class UnetPlain(nn.Module):
    """The UNet without SparseCtrl."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
        return _noise(self.unet, sample, timestep, context)


class DenoiseStep(_Control):
    """SparseCtrl, UNet and guidance in one graph: latents `[1, 4, F, h, w]`, context of two."""

    def __init__(self, unet: nn.Module, controlnet: nn.Module) -> None:
        super().__init__(controlnet)
        self.unet = unet

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        context: Tensor,
        cond: Tensor,
        mask: Tensor,
        control_scale: Tensor,
        guidance: Tensor,
    ) -> Tensor:
        residuals = self.residuals(timestep, context, cond, mask, control_scale)
        both = torch.cat([latents, latents])
        unconditional, conditional = _noise(self.unet, both, timestep, context, residuals).chunk(2)
        return unconditional + guidance * (conditional - unconditional)


class DenoiseStepPlain(_Control):
    """A step without guidance, half the work: for few-step consistency (LCM) sampling."""

    def __init__(self, unet: nn.Module, controlnet: nn.Module) -> None:
        super().__init__(controlnet)
        self.unet = unet

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        context: Tensor,
        cond: Tensor,
        mask: Tensor,
        control_scale: Tensor,
    ) -> Tensor:
        residuals = self.residuals(timestep, context, cond, mask, control_scale)
        return _noise(self.unet, latents, timestep, context, residuals)


class VaeEncoder(nn.Module):
    """Images `[n, 3, 8h, 8w]` in -1..1 to mean and log-variance; the caller samples and scales."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        moments = self.vae.quant_conv(self.vae.encoder(image.to(_type_of(self.vae)))).float()
        mean, logvar = moments.chunk(2, dim=1)
        return mean, logvar.clamp(-30.0, 20.0)


class VaeDecoder(nn.Module):
    """Unscaled latents `[n, 4, h, w]` to images `[n, 3, 8h, 8w]` in -1..1."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latent: Tensor) -> Tensor:
        hidden = self.vae.post_quant_conv(latent.to(_type_of(self.vae)))
        image: Tensor = self.vae.decoder(hidden).float()
        return image


class TaesdEncoder(nn.Module):
    """The small encoder behind the large one's borders.

    It gives scaled latents without a spread, so the mean is its output over the scale and the
    log-variance is the smallest that is allowed.
    """

    def __init__(self, taesd: Any, vae_scale: float) -> None:
        super().__init__()
        self.taesd = taesd
        self.vae_scale = vae_scale

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.taesd.encoder(image.to(_type_of(self.taesd))).float() / self.vae_scale
        return mean, torch.full_like(mean, -30.0)


class TaesdDecoder(nn.Module):
    """The small decoder behind the large one's borders: it wants scaled latents."""

    def __init__(self, taesd: Any, vae_scale: float) -> None:
        super().__init__()
        self.taesd = taesd
        self.vae_scale = vae_scale

    def forward(self, latent: Tensor) -> Tensor:
        scaled = (latent * self.vae_scale).to(_type_of(self.taesd))
        image: Tensor = self.taesd.decoder(scaled).float()
        return image
