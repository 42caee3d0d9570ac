"""A folder of pretrained networks in the real layouts, tiny and with random weights."""

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
CLIP: dict[str, Any] = {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT}


def make_folder(folder: Path) -> tuple[open_clip.CLIP, AutoencoderKL]:
    """Writes towers and VAE at the sizes of the preset `tiny`; returns them as they are."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    clip = open_clip.CLIP(32, {**VISION, "output_tokens": True}, TEXT).eval()
    with torch.no_grad():
        # A projection away from where it begins, as a trained one is.
        clip.text_projection.normal_()
    config = {"model_cfg": CLIP, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(clip.state_dict(), folder / "open_clip_model.safetensors")
    make: Any = AutoencoderKL
    vae = make(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 8),
        norm_num_groups=2,
        latent_channels=4,
        layers_per_block=1,
        sample_size=64,
    ).eval()
    vae.save_pretrained(folder / "vae")
    return clip, vae
