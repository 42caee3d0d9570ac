"""`corticast-train synth`: a synthetic movie-watching data set with known truth."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from corticast_training.synth.dataset import PRESETS, write_dataset

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
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
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
        help="s.d. of a single trial's noise over that of the signal, median over voxels",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing data set")


def run(args: argparse.Namespace) -> None:
    """Writes the data set. Raises `TrainingError` on impossible sizes."""
    plan = PRESETS[args.preset]
    given: dict[str, Any] = {
        item.name: getattr(args, item.name, None)
        for item in dataclasses.fields(plan)
        if item.name != "preset" and getattr(args, item.name, None) is not None
    }
    plan = dataclasses.replace(plan, **given)
    write_dataset(args.out, plan, force=args.force)
    print(
        f"wrote {args.out}: {plan.train_clips} training clips in {plan.train_segments} segments, "
        f"{plan.test_clips} test clips in {plan.test_segments}, {plan.subjects} subjects"
    )
