"""Options of `corticast-train linear`."""

import argparse
from pathlib import Path

from corticast_training.choices import LINEAR_METHODS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder that `corticast prepare` wrote",
    )
    parser.add_argument(
        "--target", required=True, metavar="COLUMN", help="column of events.tsv with the classes"
    )
    parser.add_argument(
        "--classes",
        metavar="A,B",
        help="the classes that are meant, if the column has other events, too (default: all)",
    )
    parser.add_argument(
        "--duration-s",
        type=float,
        metavar="SECONDS",
        help="length of events whose duration is 0 or n/a",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="MODEL_DIR", help="folder of the new model"
    )
    parser.add_argument("--method", choices=LINEAR_METHODS, default="ridge")
    parser.add_argument(
        "--evidence",
        action="store_true",
        help="add up the evidence of the volumes of a block; needs rest between the blocks",
    )
    parser.add_argument("--name", help="name of the model (default: name of MODEL_DIR)")
    parser.add_argument("--subject", help="BIDS label (default: from the names of the runs)")
    parser.add_argument(
        "--delay-s", type=float, help="refuse data that were not prepared with this HRF delay"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing model")
