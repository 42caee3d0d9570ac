"""Options of `corticast-train brain`."""

import argparse
from pathlib import Path

from corticast_training.options.stages import add_common

EPILOG = """\
example:
  corticast-train brain --data synth --prepared 01=prepared/sub-01 --prepared 02=prepared/sub-02 \\
    --targets targets --preset tiny --out brain

Several subjects share the backbone, each with a ridge of its own. The best weights by retrieval
on held out clips are in OUT/model.safetensors, what it was trained on in OUT/training.toml, how
it went in OUT/training.csv and, for TensorBoard, in OUT/tensorboard. Ctrl-C writes a checkpoint
first; --resume goes on from it exactly. On several devices:
  corticast-train brain ... --devices 4 --strategy fsdp --precision bf16-mixed
  torchrun --nproc-per-node 4 --nnodes 2 ... -m corticast_training.cli brain ...
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    add_common(parser)
    parser.add_argument("--preset", help="tiny, small, paper or a config file")
    parser.add_argument(
        "--init", type=Path, metavar="FILE", help="published weights to start from: last.pth"
    )
    parser.add_argument(
        "--init-subject",
        metavar="SUBJECT",
        help="subject whose ridge --init holds (default: its ridge is not used)",
    )
