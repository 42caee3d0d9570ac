"""Tiny networks of the real ones' topology: 4 levels, motion modules, SparseCtrl, 12 + 1 residuals.

The VAE is the one that made the decoder's targets, so that decoder and video stage mean the same
by a latent.
"""

from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from corticast_training.targets.networks import LATENT_SCALE
from corticast_training.targets.tiny import TinyVae
from corticast_training.video.config import MAX_FRAMES, TEXT_TOKENS
from corticast_training.video.tiny_control import TinySparseCtrl
from corticast_training.video.tiny_unet import TinyUnet

CHANNELS = (16, 32, 32, 32)
GROUPS, HEADS, TEXT_DIM = 8, 4, 32
START = 0.3
"""Spread of weights that others start at zero, of what keeps the variance."""


class TinyVaeParts(ModelMixin, ConfigMixin):
    """`TinyVae` with the parts and the facts that a diffusers VAE has."""

    config_name: Any = "config.json"

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 4,
        scaling_factor: float = LATENT_SCALE,
        block_out_channels: tuple[int, ...] = (3, 3, 3, 3),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vae = TinyVae()
        self.quant_conv, self.post_quant_conv = nn.Identity(), nn.Identity()

    def encoder(self, image: Tensor) -> Tensor:
        """Mean and log-variance, one after the other along channels."""
        return torch.cat(self.vae.encode(image), 1)

    def decoder(self, latent: Tensor) -> Tensor:
        """Images in -1..1."""
        return self.vae.decode(latent)


@dataclass(frozen=True)
class TinyNetworks:
    """One of each; the text encoder stays as it was drawn."""

    unet: Any
    controlnet: nn.Module
    vae: Any
    text_encoder: nn.Module

    def sources(self) -> dict[str, nn.Module]:
        """By the names of a set's sources."""
        return {
            "unet": self.unet,
            "controlnet": self.controlnet,
            "vae": self.vae,
            "text_encoder": self.text_encoder,
        }


def tiny_networks(seed: int) -> TinyNetworks:
    """Freshly drawn networks, the same for the same seed."""
    torch.manual_seed(seed)
    shared = {
        "block_out_channels": CHANNELS,
        "layers_per_block": 2,
        "cross_attention_dim": TEXT_DIM,
        "norm_num_groups": GROUPS,
        "attention_head_dim": HEADS,
    }
    library: Any = diffusers  # its constructors have no types
    base = library.UNet2DConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        **shared,
    )
    motion = library.MotionAdapter(
        block_out_channels=CHANNELS,
        motion_layers_per_block=2,
        motion_num_attention_heads=HEADS,
        motion_norm_num_groups=GROUPS,
        motion_max_seq_length=MAX_FRAMES,
        use_motion_mid_block=False,
    )
    sparse_ctrl: Any = TinySparseCtrl  # nor has this one
    controlnet = sparse_ctrl(
        in_channels=4,
        conditioning_channels=4,
        down_block_types=("CrossAttnDownBlockMotion",) * 3 + ("DownBlockMotion",),
        motion_num_attention_heads=HEADS,
        motion_max_seq_length=MAX_FRAMES,
        concat_conditioning_mask=True,
        use_simplified_condition_embedding=True,
        **shared,
    )
    text_encoder: Any = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=TEXT_DIM,
            intermediate_size=4 * TEXT_DIM,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TEXT_TOKENS,
            bos_token_id=49406,
            eos_token_id=49407,
        )
    )
    unet: Any = TinyUnet.from_unet2d(base, motion)
    _start(unet)
    nn.init.zeros_(unet.conv_out.weight)  # nothing but the linear estimate at first
    _start(controlnet)
    with torch.no_grad():  # the library's 0.02 would leave all words alike after two layers
        text_encoder.get_input_embeddings().weight.mul_(25.0)
    return TinyNetworks(
        unet=unet,
        controlnet=controlnet,
        vae=TinyVaeParts(),
        text_encoder=text_encoder.eval(),
    )


@torch.no_grad()
def _start(network: nn.Module) -> None:
    """Draws what the libraries start at zero, so as not to disturb a UNet that is trained.

    This one is not, and zeros would cost it a good part of a training of two minutes.
    """
    for parameter in network.parameters():
        if parameter.ndim > 1 and not parameter.any():
            parameter.normal_(0, START / parameter[0].numel() ** 0.5)
