"""Random networks of the video stage's kinds in diffusers' layout, as small as they go.

Two levels of one layer instead of four of two: an export takes seconds, and the number of
residuals is seen to come from the networks. `tiny-video` has the real ones' topology.
"""

from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

CHANNELS, LAYERS = (8, 16), 1
CROSS = "CrossAttn"
TEXT_DIM, GROUPS, HEADS = 16, 4, 2
LIBRARY: Any = diffusers  # its constructors have no types


@torch.no_grad()
def randomise(network: nn.Module, seed: int) -> Any:
    """Random weights everywhere, also where a library starts with zeros."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(network.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.copy_(noise / parameter[0].numel() ** 0.5)
        else:
            parameter.copy_(0.05 * noise + (0.0 if name.endswith("bias") else 1.0))
    return network.eval()


def unet(**changes: Any) -> Any:
    return LIBRARY.UNet2DConditionModel(
        **{
            "sample_size": 8,
            "block_out_channels": CHANNELS,
            "down_block_types": (f"{CROSS}DownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", f"{CROSS}UpBlock2D"),
            "layers_per_block": LAYERS,
            "cross_attention_dim": TEXT_DIM,
            "norm_num_groups": GROUPS,
            "attention_head_dim": HEADS,
            **changes,
        }
    )


def motion() -> Any:
    return LIBRARY.MotionAdapter(
        block_out_channels=CHANNELS,
        motion_layers_per_block=LAYERS,
        motion_num_attention_heads=HEADS,
        motion_norm_num_groups=GROUPS,
        motion_max_seq_length=32,
        use_motion_mid_block=False,
    )


def controlnet(**changes: Any) -> Any:
    return LIBRARY.SparseControlNetModel(
        **{
            "in_channels": 4,
            "conditioning_channels": 4,
            "down_block_types": (f"{CROSS}DownBlockMotion", "DownBlockMotion"),
            "block_out_channels": CHANNELS,
            "layers_per_block": LAYERS,
            "norm_num_groups": GROUPS,
            "cross_attention_dim": TEXT_DIM,
            "attention_head_dim": HEADS,
            "motion_num_attention_heads": HEADS,
            "motion_max_seq_length": 32,
            "concat_conditioning_mask": True,
            "use_simplified_condition_embedding": True,
            **changes,
        }
    )


def vae() -> Any:
    return LIBRARY.AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(4, 4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=2,
        scaling_factor=0.18215,
    )


def taesd() -> Any:
    return LIBRARY.AutoencoderTiny(
        encoder_block_out_channels=(4, 4, 4, 4),
        decoder_block_out_channels=(4, 4, 4, 4),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    )


def text_encoder(**changes: Any) -> Any:
    values = {"hidden_size": TEXT_DIM, "max_position_embeddings": 77, **changes}
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            bos_token_id=49406,
            eos_token_id=49407,
            **values,
        )
    )


def save_folders(folder: Path) -> dict[str, Path]:
    """Saves one of each; returns option → folder."""
    networks = {
        "unet": unet(),
        "motion": motion(),
        "controlnet": controlnet(),
        "vae": vae(),
        "text_encoder": text_encoder(),
        "taesd": taesd(),
    }
    for seed, (name, network) in enumerate(networks.items()):
        randomise(network, seed).save_pretrained(folder / name)
    return {name: folder / name for name in networks}


def lora(folder: Path, seed: int) -> dict[str, torch.Tensor]:
    """An adapter of rank 2 for the attention of a saved UNet, as training scripts spell it."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for path, module in LIBRARY.UNet2DConditionModel.from_pretrained(folder).named_modules():
        if path.endswith(("to_q", "to_v")):
            key = f"lora_unet_{path.replace('.', '_')}"
            n_out, n_in = module.weight.shape
            found[f"{key}.lora_down.weight"] = 0.2 * torch.randn(2, n_in, generator=generator)
            found[f"{key}.lora_up.weight"] = torch.randn(n_out, 2, generator=generator)
            found[f"{key}.alpha"] = torch.tensor(2.0)
    return found
