"""Stable Diffusion's VAE from a local folder in diffusers' layout."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn

from corticast_training.errors import TrainingError
from corticast_training.targets.networks import LATENT_SCALE

CONFIG = "config.json"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


class StableDiffusionVae(nn.Module):
    """AutoencoderKL, with plain tensors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """`[n, 3, 8l, 8l]` in -1..1 to mean and log variance `[n, 4, l, l]`."""
        found = self.model.encode(image).latent_dist
        return found.mean, found.logvar

    def decode(self, latent: Tensor) -> Tensor:
        """`[n, 4, l, l]` to `[n, 3, 8l, 8l]` in -1..1."""
        image: Tensor = self.model.decode(latent).sample
        return image


def vae_weights_file(folder: Path) -> Path:
    """The weights in a folder."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise TrainingError(f"{folder}: no VAE in it, expected {CONFIG} and {WEIGHTS[0]}")


def vae_config(folder: Path) -> dict[str, Any]:
    """The folder's config, of a VAE with 4 latent channels, factor 8 and the scale of SD 1."""
    path = folder / CONFIG
    if not path.is_file():
        raise TrainingError(f"{path}: missing, expected a VAE in diffusers' layout")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        channels = config["latent_channels"]
        factor = 2 ** (len(config["block_out_channels"]) - 1)
        scale = config.get("scaling_factor", LATENT_SCALE)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path}: not a config of AutoencoderKL: {error!r}") from error
    if (channels, factor, scale) != (4, 8, LATENT_SCALE):
        raise TrainingError(
            f"{path}: {channels} latent channels, factor {factor}, scale {scale}; expected "
            f"4, 8 and {LATENT_SCALE}, those of Stable Diffusion 1"
        )
    return dict(config)


def load_vae(folder: Path) -> StableDiffusionVae:
    """Reads a VAE, from this folder only."""
    from diffusers import AutoencoderKL

    reader: Any = AutoencoderKL
    vae_config(folder)
    path = vae_weights_file(folder)
    try:
        model = reader.from_pretrained(
            folder, local_files_only=True, use_safetensors=path.suffix == ".safetensors"
        )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(f"{path}: not the weights of a VAE: {reason}") from error
    return StableDiffusionVae(model.eval())
