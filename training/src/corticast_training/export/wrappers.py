"""The networks as the daemon calls them: one module per graph, from tensors to tensors.

Each module holds only the parts that its graph reads, so a graph's file has no other weights.
"""

from typing import Any

import torch
from torch import Tensor, nn

from corticast_training.model.backbone import Backbone
from corticast_training.model.captioner import Captioner
from corticast_training.model.concepts import Concepts
from corticast_training.model.motion import Motion
from corticast_training.model.prior import Prior
from corticast_training.model.regions import Regions
from corticast_training.model.text import TextProjection


class BrainGraph(nn.Module):
    """One subject's BOLD `[B, S, V]` to the brain's tokens `[B, N, C]`."""

    def __init__(self, ridge: nn.Module, backbone: Backbone) -> None:
        super().__init__()
        self.ridge = ridge
        self.backbone = backbone

    def forward(self, bold: Tensor) -> Tensor:
        tokens: Tensor = self.backbone(self.ridge(bold))[1]
        return tokens


class PriorGraph(nn.Module):
    """One step of the prior: noisy tokens, timestep i64 `[B]`, brain's tokens to x0."""

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, image_embed: Tensor, timestep: Tensor, brain_embed: Tensor) -> Tensor:
        x0: Tensor = self.prior(image_embed, timestep, brain_embed)
        return x0


class MotionGraph(nn.Module):
    """Tokens `[B, N, C]` to those of each frame `[B, F, N, C]`, and their text `[B, T]`."""

    def __init__(self, motion: Motion, text: TextProjection) -> None:
        super().__init__()
        self.motion = motion
        self.text = text

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        frames = self.motion(tokens)
        return frames, self.text(frames)


class ConceptsGraph(nn.Module):
    """Frames `[B, F, N, C]` to the probability of each class, `[B, 51]`."""

    def __init__(self, concepts: Concepts) -> None:
        super().__init__()
        self.concepts = concepts

    def forward(self, frame_tokens: Tensor) -> Tensor:
        return torch.sigmoid(self.concepts(frame_tokens))


class ObjectsGraph(nn.Module):
    """Frames and a name's states `[B, L, T]`, none of them padding, to mask logits."""

    def __init__(self, regions: Regions) -> None:
        super().__init__()
        self.regions = regions

    def forward(self, frame_tokens: Tensor, text_states: Tensor) -> Tensor:
        return self.regions.objects(frame_tokens, text_states)


class ReconstructionGraph(nn.Module):
    """Frames and their text `[B, T]`, unnormalised, to latents `[B, F, 4, l, l]`."""

    def __init__(self, regions: Regions) -> None:
        super().__init__()
        self.regions = regions

    def forward(self, frame_tokens: Tensor, text_embed: Tensor) -> Tensor:
        return self.regions.reconstruct(frame_tokens, text_embed)


class CaptionPrefixGraph(nn.Module):
    """L2-normalised text `[B, T]` to the captioner's first input `[B, 1, E]`."""

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.prefix = captioner.prefix

    def forward(self, clip_text_embed: Tensor) -> Tensor:
        prefix: Tensor = self.prefix(clip_text_embed)
        return prefix[:, None]


class CaptionEmbedGraph(nn.Module):
    """Token ids, i64 `[B, n]`, to the captioner's inputs `[B, n, E]`."""

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.wte = captioner.wte

    def forward(self, ids: Tensor) -> Tensor:
        embeds: Tensor = self.wte(ids)
        return embeds


class CaptionDecoderGraph(nn.Module):
    """Inputs `[B, n, E]` after a past `[layers, 2, B, heads, t, E / heads]`.

    Returns the logits of the next token `[B, 50257]`, and the past extended by the inputs.
    """

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner

    def forward(self, inputs_embeds: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        return self.captioner.step(inputs_embeds, past)


class VaeDecoderGraph(nn.Module):
    """Latents `[n, 4, h, w]`, divided by 0.18215, to pictures `[n, 3, 8h, 8w]` in -1..1."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae: Any = vae

    def forward(self, latent: Tensor) -> Tensor:
        decoded = self.vae.decode(latent)
        # diffusers wraps the picture in an object; the tiny VAE does not.
        image: Tensor = decoded if isinstance(decoded, Tensor) else decoded.sample
        return image
