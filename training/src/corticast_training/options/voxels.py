"""Options of `corticast-train voxels`."""

import argparse
from pathlib import Path

from corticast_training.choices import CORRECTIONS
from corticast_training.data.inputs import add_inputs

EPILOG = """\
example:
  corticast-train voxels --data synth --subject 01

Only the training runs are looked at. With few segments the t-test has little power; then
--correction fdr, --one-sided or --top N are ways out, and the model should say which was used.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    add_inputs(parser, "data")
    parser.add_argument("--subject", required=True, metavar="LABEL", help="e.g. 01")
    parser.add_argument(
        "--alpha", type=float, default=0.05, help="significance level (default: 0.05)"
    )
    parser.add_argument(
        "--detrend",
        type=int,
        default=2,
        metavar="ORDER",
        help="order of the polynomial removed from each segment (default: 2)",
    )
    parser.add_argument("--correction", choices=CORRECTIONS, default="bonferroni")
    parser.add_argument(
        "--one-sided", action="store_true", help="test for r > 0 instead of r different from 0"
    )
    parser.add_argument(
        "--min-r", type=float, default=0.0, metavar="R", help="smallest mean r (default: above 0)"
    )
    parser.add_argument(
        "--top", type=int, metavar="N", help="the N most reliable voxels, whatever their P"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the mask (default: DATA/sub-LABEL/mask.nii.gz)"
    )
    parser.add_argument(
        "--report",
        type=Path,
        nargs="?",
        metavar="DIR",
        help="folder of statistics and picture (default: beside the mask)",
    )
