"""Options of `corticast-train synth`."""

import argparse
from pathlib import Path

from corticast_training.choices import SYNTH_PRESETS

EPILOG = """\
example:
  corticast-train synth --out synth --preset tiny

Then choose voxels and let the daemon's own signal path prepare the runs:
  corticast-train voxels --data synth --subject 01
  corticast prepare --config synth/prepare.toml --set signal.mask=synth/sub-01/mask.nii.gz \\
    $(for bold in synth/sub-01/func/*_bold.nii.gz; do
        echo --run $bold,${bold%bold.nii.gz}events.tsv; done) --out prepared/sub-01
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DATA", help="folder of the new data set"
    )
    parser.add_argument("--preset", choices=SYNTH_PRESETS, default="tiny")
    parser.add_argument("--subjects", type=int, metavar="N", help="number of subjects")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: 0)")
    parser.add_argument("--train-clips", type=int, metavar="N")
    parser.add_argument("--train-segments", type=int, metavar="N")
    parser.add_argument("--test-clips", type=int, metavar="N")
    parser.add_argument("--test-segments", type=int, metavar="N")
    parser.add_argument(
        "--noise",
        type=float,
        metavar="X",
        help="s.d. of a trial's noise over the s.d. of the signal, median over voxels",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing data set")
