"""`corticast-train cc2017`: the public data set's files in the form that training reads."""

import argparse

from corticast_training.data import cc2017
from corticast_training.data.cc2017_write import Part, convert
from corticast_training.errors import TrainingError


def run(args: argparse.Namespace) -> None:
    """Checks and converts. Raises `TrainingError` that lists what is missing."""
    if not 1 <= args.test_repeats <= cc2017.REPEATS["test"]:
        raise TrainingError(f"--test-repeats is {args.test_repeats}, expected 1 to 10")
    if args.segment_s < cc2017.CLIP_S or args.px < 8:
        raise TrainingError("--segment-s has to hold a clip of 2 s, --px has to be 8 or more")
    part = Part(
        subjects=numbers(args.subjects, "--subjects", max(cc2017.SUBJECTS)),
        segments={
            "train": numbers(args.segments, "--segments", cc2017.SEGMENTS["train"]),
            "test": numbers(args.test_segments, "--test-segments", cc2017.SEGMENTS["test"]),
        },
        repeats={"train": cc2017.REPEATS["train"], "test": args.test_repeats},
        segment_s=args.segment_s,
        px=args.px,
    )
    for note in convert(cc2017.find_source(args.source), args.out, part, force=args.force):
        print(f"note: {note}")
    n_clip = {split: len(segments) * part.n_clip for split, segments in part.segments.items()}
    print(
        f"wrote {args.out}: {n_clip['train']} training and {n_clip['test']} test clips, "
        f"{len(part.subjects)} subjects"
    )


def numbers(text: str, option: str, largest: int) -> tuple[int, ...]:
    """Reads a list such as `1-4,7`, sorted, each number once."""
    found: set[int] = set()
    try:
        for item in text.split(","):
            first, _, last = item.partition("-")
            found |= set(range(int(first), int(last or first) + 1))
    except ValueError as error:
        raise TrainingError(f"{option} is {text!r}, expected a list such as 1-4,7") from error
    if not found or min(found) < 1 or max(found) > largest:
        raise TrainingError(f"{option} is {text!r}, expected numbers from 1 to {largest}")
    return tuple(sorted(found))
