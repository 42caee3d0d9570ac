"""Options of `corticast-train targets`."""

import argparse
from pathlib import Path

from corticast_training.data.inputs import add_inputs

EPILOG = """example:
  corticast-train targets --data movie --pretrained tiny --preset tiny --out targets

PRETRAINED is `tiny` (fixed weights, no files, for trying things out) or a folder with an
OpenCLIP checkpoint (open_clip_config.json and its weights, here or in clip/), a Stable
Diffusion VAE in diffusers' layout (vae/) and, optionally, coco_tokens_avg_proj.pth. Nothing
is downloaded. A run that was cut short goes on where it stopped.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    add_inputs(parser, "data")
    parser.add_argument(
        "--pretrained", required=True, metavar="PRETRAINED", help="`tiny` or a folder of networks"
    )
    parser.add_argument(
        "--preset", required=True, help="tiny, small, paper or a config file: the sizes"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="TARGETS", help="new folder")
    parser.add_argument(
        "--vae", type=Path, metavar="DIR", help="folder of the VAE (default: PRETRAINED/vae)"
    )
    parser.add_argument(
        "--projection",
        metavar="FILE",
        help="matrix from mean image token to text embedding, .pth or .safetensors, or `fit`: "
        "fitted to the training clips (default: PRETRAINED/coco_tokens_avg_proj.pth, else fit)",
    )
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="frames at once")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
