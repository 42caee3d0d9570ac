"""Options of `corticast-train export`."""

import argparse
from pathlib import Path

from corticast_training.choices import HEADS, WEIGHT_PRECISIONS

EPILOG = """example:
  corticast-train export --decoupler neurons --targets targets --subject 01 --out models/sub-01
  corticast check --config site.toml --model models/sub-01

Every graph is written by a process of its own, run in ONNX Runtime on random input and compared
with PyTorch: above 1e-4 of the output's largest value (fp16: 5e-3) nothing is written. Precisions:
  fp32          as it was trained
  fp16-storage  weights in half precision, computed in single: half the size, for the CPU
  fp16          products in half precision as well: for CUDA
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    parser.add_argument(
        "--decoupler", type=Path, required=True, metavar="DIR", help="folder that `decoupler` wrote"
    )
    parser.add_argument(
        "--targets",
        type=Path,
        required=True,
        metavar="DIR",
        help="targets that the model was trained on",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="MODEL", help="new folder")
    parser.add_argument("--subject", help="subject whose ridge is exported (default: the only one)")
    parser.add_argument(
        "--name", help="the model's name in metrics and recordings (default: the folder's)"
    )
    parser.add_argument("--precision", choices=WEIGHT_PRECISIONS, default="fp32")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=sorted(HEADS),
        help="leave out a head; repeatable",
    )
    parser.add_argument(
        "--vae",
        metavar="tiny|DIR",
        help="also export a VAE decoder, for pictures: a folder in diffusers' layout",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing model")
