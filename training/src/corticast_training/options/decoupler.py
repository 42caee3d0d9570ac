"""Options of `corticast-train decoupler`."""

import argparse
from pathlib import Path

from corticast_training.options.stages import add_common

EPILOG = """\
example:
  corticast-train decoupler --brain brain --data synth --prepared 01=prepared/sub-01 \\
    --prepared 02=prepared/sub-02 --targets targets --out neurons

Sizes and schedules are those of the brain model's config; --set decoupler.KEY=VALUE changes
them. OUT holds all that `export` needs: the brain model too.

--set decoupler.decoupled=false leaves the four tasks out, a step then takes a fraction of the
time. Where there is no published prior, train it so first, and go on from it with the tasks:
  corticast-train decoupler ... --set decoupler.decoupled=false --set decoupler.epochs=150 \\
    --out prior
  corticast-train decoupler ... --init prior --out neurons
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    parser.add_argument(
        "--brain", type=Path, required=True, metavar="DIR", help="folder of `corticast-train brain`"
    )
    add_common(parser)
    parser.add_argument(
        "--init",
        type=Path,
        metavar="DIR",
        help="stage 2 folder of the same sizes, to start from its prior and motion projection",
    )
    parser.add_argument(
        "--init-prior",
        type=Path,
        metavar="FILE",
        help="published weights of the prior to start from: brain_model_prior_last.pth",
    )
    parser.add_argument(
        "--init-caption",
        type=Path,
        metavar="FILE",
        help="GPT-2's weights for the captioner: gpt2.safetensors",
    )
