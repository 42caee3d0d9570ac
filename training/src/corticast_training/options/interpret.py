"""Options of `corticast-train interpret`."""

import argparse
from pathlib import Path
from typing import Any

from corticast_training.data.inputs import add_inputs
from corticast_training.interpret.settings import Settings

EPILOG = """\
example:
  corticast-train interpret --decoupler decoupler --data synth --prepared 01=prepared-01 \\
      --targets targets --subject 01 --learning-rate 1e-3 --out maps-01

Writes weights_<task>, ridge_<task> and score as NIfTI in the mask's space, slices.png and
ridge.png, and interpret.json. A weight says which task a voxel prefers among the four, also
where none explains anything: read it beside the score. The default learning rate is the
published one and wants thousands of clips; with hundreds, 1e-3 is a better start.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    folder: dict[str, Any] = {"type": Path, "required": True, "metavar": "DIR"}
    parser.add_argument(
        "--decoupler", help="folder that `corticast-train decoupler` wrote", **folder
    )
    add_inputs(parser, "data", "targets")
    parser.add_argument(
        "--prepared",
        required=True,
        metavar="SUBJECT=DIR",
        help="folder that `corticast prepare` wrote",
    )
    parser.add_argument("--subject", metavar="LABEL", help="subject (default: that of --prepared)")
    parser.add_argument("--mask", type=Path, help="mask (default: DATA/sub-SUBJECT/mask.nii.gz)")
    parser.add_argument("--out", help="new folder of maps", **folder)
    parser.add_argument("--epochs", type=int, default=Settings.epochs)
    parser.add_argument("--learning-rate", type=float, default=Settings.learning_rate)
    parser.add_argument(
        "--width", type=int, default=Settings.width, help="width of the projections"
    )
    parser.add_argument(
        "--validation", type=float, default=0.2, help="fraction of the clips that are held out"
    )
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--force", action="store_true", help="replace an existing folder of maps")
