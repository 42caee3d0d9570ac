"""Options of `corticast-train cc2017`."""

import argparse
from pathlib import Path

from corticast_training.choices import CC2017_SEGMENT_S, CC2017_TEST_REPEATS

EPILOG = """\
example, one subject and four training segments:
  corticast-train cc2017 --source video_fmri_dataset --out cc2017 --subjects 1 --segments 1-4

SOURCE holds stimuli/seg1.mp4 … and subject1/fmri/seg1/mni/seg1_1_mni.nii.gz …, as the bundles
of doi:10.4231/R7SF2TCW unpack. Captions and classes come afterwards from `corticast-train labels`.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    parser.add_argument("--source", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DATA", help="folder of the new data set"
    )
    parser.add_argument("--subjects", default="1-3", metavar="LIST", help="e.g. 1,3 (default: 1-3)")
    parser.add_argument(
        "--segments", default="1-18", metavar="LIST", help="training segments (default: 1-18)"
    )
    parser.add_argument(
        "--test-segments", default="1-5", metavar="LIST", help="test segments (default: 1-5)"
    )
    parser.add_argument(
        "--test-repeats", type=int, default=CC2017_TEST_REPEATS, metavar="N", help="default: 10"
    )
    parser.add_argument(
        "--segment-s",
        type=float,
        default=CC2017_SEGMENT_S,
        metavar="S",
        help="length of every movie (default: 480)",
    )
    parser.add_argument(
        "--px", type=int, default=224, metavar="N", help="edge of the frames (default: 224)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing data set")
