"""`corticast-train targets`: frames and captions in, what the networks learn to decode out."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from corticast_training.config import Config
from corticast_training.data.layout import SPLITS
from corticast_training.data.movie import read_movie
from corticast_training.targets.make import data_sha256, make_targets
from corticast_training.targets.pretrained import load
from corticast_training.targets.store import read_targets


def run(args: argparse.Namespace) -> None:
    """Makes the targets and says what is missing in them."""
    sizes = Config.load(args.preset).sizes
    movie = read_movie(args.data)
    named = args.projection not in (None, "fit")
    pretrained = load(
        args.pretrained,
        sizes,
        vae=args.vae,
        projection=Path(args.projection) if named else None,
        device=args.device,
        batch=args.batch,
    )
    fit = args.projection == "fit" or pretrained.projection_name in ("tiny", "image tower")
    layout, files = movie.layout, [movie.layout.facts]
    for split in SPLITS:
        files += [layout.clips(split), layout.tensors(split), layout.key_masks(split)]
    made = make_targets(movie, data_sha256(files), pretrained, sizes, args.out, fit=fit)
    targets = read_targets(args.out, sizes)
    if made.complete:
        print(f"{args.out} is complete and of the same data set and networks: nothing to do")
    for split, done in made.resumed.items():
        print(f"{split}: {done} clips were there from an earlier run")
    for split in SPLITS:
        n = len(targets.split(split))
        _say_cut(split, made.cut_captions.get(split, []), n, f"{sizes.caption_tokens}-id row")
        _say_cut(split, made.cut_texts.get(split, []), n, "77 tokens of the text tower")
    empty = targets.empty_classes
    if empty:
        print(f"warning: {len(empty)} of 51 classes are in no training clip: {', '.join(empty)}")
    said = "found" if made.complete else "wrote"
    print(
        f"{said} {args.out}: {len(targets.train)} training and {len(targets.test)} test clips, "
        f"{len(targets.names)} names, projection: {targets.facts['projection']}"
    )


def _say_cut(split: str, clips: Sequence[str], n: int, limit: str) -> None:
    if clips:
        shown = ", ".join(clips[:10]) + (", …" if len(clips) > 10 else "")
        print(
            f"warning: {len(clips)} of {n} {split} captions are longer than the {limit} and "
            f"lost their end: {shown}"
        )
