"""Options of `corticast-train baseline`."""

import argparse
from pathlib import Path

from corticast_training.choices import BASELINES
from corticast_training.data.inputs import add_inputs

EPILOG = """\
presets:
  wen-like        ridge from BOLD to CLIP tokens, retrieval of the nearest training clip
  nishimoto-like  motion energy predicts BOLD, average of the most probable training clips
  neuroclips-like NEURONS trained without its decoupled tasks, on the same brain model

example:
  corticast-train baseline --data movie --prepared 01=prepared/sub-01 --targets targets \\
    --preset wen-like --out baselines/wen-like
  corticast-train evaluate --results decoded --data movie --targets targets --out report \\
    --compare wen-like=baselines/wen-like

--prepared has the training runs and the test runs of a subject, task-...mean too where there are
any. What a baseline differs in from the system it is named after is in OUT/baseline.toml and in
the report. neuroclips-like is trained first, as NEURONS is, and decodes with --model:
  corticast-train decoupler --brain brain --data movie --prepared 01=prepared/sub-01 \\
    --targets targets --set decoupler.decoupled=false --out without-tasks
  corticast-train baseline ... --preset neuroclips-like --model without-tasks --out ...
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    add_inputs(parser, "data", "prepared", "targets")
    parser.add_argument(
        "--subject", help="one of the subjects of --prepared (default: the only one)"
    )
    parser.add_argument("--preset", choices=BASELINES, required=True)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="RESULTS",
        help="new folder of results, for evaluate",
    )
    parser.add_argument(
        "--folds",
        type=int,
        metavar="N",
        help="folds of the cross-validation over training segments (default: 5, or one a segment)",
    )
    parser.add_argument(
        "--average",
        type=int,
        metavar="N",
        help="clips that nishimoto-like averages (default: 5 %% of the library, at most 100)",
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="folder of `corticast-train decoupler`, for neuroclips-like",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the prior, for neuroclips-like"
    )
