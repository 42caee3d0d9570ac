"""Options of `corticast-train tiny-video`."""

import argparse
from pathlib import Path

EPILOG = """\
example, about two minutes on two cores:
  corticast-train synth --out synth --preset tiny
  corticast-train tiny-video --data synth --out video --samples video.png

The set has the graphs, names and shapes of pretrained networks (`export-animatediff`) at a
fraction of their size: static shapes, weights stored in half precision, computed in single.
It shows that a video stage works, on clips like those it was trained on, and nothing more.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DATA", help="data set of `synth`"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="VIDEO", help="folder of the new set"
    )
    parser.add_argument("--steps", type=int, default=120, metavar="N", help="default: 120")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same set (default: 0)")
    parser.add_argument(
        "--samples", type=Path, metavar="PNG", help="also draw samples of the test clips"
    )
    parser.add_argument("--name", help="name of the set (default: name of VIDEO)")
    parser.add_argument("--force", action="store_true", help="replace an existing set")
