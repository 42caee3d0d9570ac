"""Options of `corticast-train export-animatediff`."""

import argparse
from pathlib import Path
from typing import Any

from corticast_training.choices import WEIGHT_PRECISIONS

EPILOG = """\
example, for a machine with a GPU (static shapes, fp16, steps with and without guidance):
  corticast-train export-animatediff --unet realistic-vision --motion motion-v3 \\
      --controlnet sparsectrl-rgb --vae realistic-vision --text-encoder realistic-vision \\
      --domain-lora v3_sd15_adapter.ckpt --lcm-lora lcm-lora-sdv1-5.safetensors \\
      --taesd taesd --precision fp16 --out video

Folders have diffusers' layout; where a whole pipeline's folder is named, its part is taken.
Nothing is downloaded. Each graph is checked in ONNX Runtime before the folder appears: outputs
may differ from PyTorch's by 1e-4 of their largest value (fp16: 5e-3), at guidance g by
|1 - g| + g times as much.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    folder: dict[str, Any] = {"type": Path, "required": True, "metavar": "DIR"}
    parser.add_argument("--unet", help="UNet of Stable Diffusion 1.5's layout", **folder)
    parser.add_argument("--motion", help="AnimateDiff motion module", **folder)
    parser.add_argument("--controlnet", help="SparseCtrl RGB", **folder)
    parser.add_argument("--vae", help="VAE", **folder)
    parser.add_argument("--text-encoder", help="CLIP text encoder", **folder)
    parser.add_argument(
        "--domain-lora", type=Path, metavar="FILE", help="AnimateDiff's domain adapter, fused"
    )
    parser.add_argument(
        "--lcm-lora", type=Path, metavar="FILE", help="fused into the steps without guidance only"
    )
    parser.add_argument("--taesd", type=Path, metavar="DIR", help="small VAE for live use")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="VIDEO", help="folder of the new set"
    )
    parser.add_argument(
        "--dynamic", action="store_true", help="split and fused graphs of any size, for tests"
    )
    parser.add_argument(
        "--static", metavar="1x4xFxHxW", help="latents of the static graphs (1x4x16x32x32)"
    )
    parser.add_argument(
        "--split",
        type=int,
        choices=(0, 1, 2),
        default=0,
        metavar="BATCH",
        help="static set: also SparseCtrl and UNet apart, for a batch of 1 or 2",
    )
    parser.add_argument(
        "--precision", choices=WEIGHT_PRECISIONS, help="default: fp16, --dynamic fp32"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="scales, prompts, scheduler")
    parser.add_argument("--name", help="name of the set (default: name of VIDEO)")
    parser.add_argument("--force", action="store_true", help="replace an existing set")
