"""Pretrained networks from a local folder.

```text
DIR/ or DIR/clip/            open_clip_config.json and its weights
DIR/vae/, or --vae           config.json and diffusion_pytorch_model.safetensors
DIR/coco_tokens_avg_proj.pth or DIR/projection.safetensors, or --projection
```

Without a projection file the image tower's own projection is used; `corticast-train targets` fits
one instead.
"""

from pathlib import Path

import torch

from corticast_training.config import Sizes
from corticast_training.errors import TrainingError
from corticast_training.model.memory import free_memory, gigabytes
from corticast_training.model_folder import sha256_of
from corticast_training.targets import open_clip_towers as towers
from corticast_training.targets.networks import Networks
from corticast_training.targets.projection import read_projection
from corticast_training.targets.stable_diffusion_vae import load_vae, vae_config, vae_weights_file

PROJECTIONS = ("coco_tokens_avg_proj.pth", "projection.safetensors")


def folder_networks(
    folder: Path,
    vae: Path | None,
    projection: Path | None,
    sizes: Sizes,
    device: torch.device,
    batch: int,
) -> Networks:
    """Reads towers, VAE and projection; first prints how much memory they will take."""
    if not folder.is_dir():
        raise TrainingError(f"{folder}: expected `tiny` or a folder of pretrained networks")
    clip_folder = folder if (folder / towers.CONFIG).is_file() else folder / "clip"
    if not (clip_folder / towers.CONFIG).is_file():
        raise TrainingError(
            f"{folder}: no {towers.CONFIG} in it or in its clip/, expected a folder of OpenCLIP"
        )
    vae_folder = vae or folder / "vae"
    if projection is None:
        there = [folder / name for name in PROJECTIONS if (folder / name).is_file()]
        projection = there[0] if there else None

    weights = {"clip": towers.weights_file(clip_folder), "vae": vae_weights_file(vae_folder)}
    _check_memory(list(weights.values()), vae_folder, sizes, device, batch)
    provenance = {"name": folder.resolve().name}
    for what, path in weights.items():
        provenance |= {what: path.name, f"{what}_sha256": sha256_of(path)}
    clip = towers.load_open_clip(clip_folder)
    if projection is None:
        matrix, name = clip.own_projection(), "image tower"
    else:
        matrix, name = read_projection(projection)
        provenance |= {"projection_sha256": sha256_of(projection)}
    return Networks(
        clip=clip,
        vae=load_vae(vae_folder),
        projection=matrix,
        projection_name=name,
        provenance=provenance,
    )


def _check_memory(
    weights: list[Path], vae_folder: Path, sizes: Sizes, device: torch.device, batch: int
) -> None:
    """Memory for a second copy of the weights (half-precision files widen) and a batch of the VAE.

    The VAE's first blocks at full resolution are the widest tensors of all: about 8 of them in
    float32 are alive at once.
    """
    widest = max(vae_config(vae_folder)["block_out_channels"][:2])
    activations = batch * 8 * 4 * widest * sizes.image**2
    needed = 2 * sum(path.stat().st_size for path in weights) + activations
    free = free_memory(device)
    known = "free memory unknown" if free is None else f"{gigabytes(free)} free on {device}"
    print(f"memory: about {gigabytes(needed)} at {batch} frames at once, {known}")
    if free is not None and needed > free:
        raise TrainingError(
            f"the pretrained networks take about {gigabytes(needed)}, {gigabytes(free)} are free "
            f"on {device}: expected a smaller --batch than {batch}, or another device"
        )
