"""`corticast-train labels`: captions, tags, masks and key objects for clips that have none."""

import argparse
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from corticast_training.data.layout import SPLITS
from corticast_training.data.movie import Movie, read_movie
from corticast_training.errors import TrainingError
from corticast_training.labels.classes import CLASSES
from corticast_training.labels.clips import named
from corticast_training.labels.config import LabelsConfig
from corticast_training.labels.describe import describe
from corticast_training.labels.discovery import discover
from corticast_training.labels.endpoint import Endpoint
from corticast_training.labels.segmenters import HttpSegmenter, Segmenter
from corticast_training.labels.segments import segment
from corticast_training.labels.vision_language import VisionLanguageModel


def run(args: argparse.Namespace) -> None:
    """Runs one step on the splits. Raises `TrainingError` when clips were left without a label."""
    config, movie = LabelsConfig.load(args.config), read_movie(args.data)
    splits = SPLITS if args.split is None else (args.split,)
    if args.step != "key-object" and not 1 <= args.parallel <= 64:
        raise TrainingError(f"--parallel is {args.parallel}, expected 1 to 64")
    failed: dict[str, str] = {}
    if args.step == "describe":
        vlm = VisionLanguageModel(_endpoint(args, config), args.model, config)
        for split in splits:
            failed |= _describe(movie, split, vlm, args, config)
        if "train" in splits:
            _say_classes(read_movie(args.data))
    elif args.step == "segment":
        segmenter = _segmenter(args, config)
        for split in splits:
            failed |= _segment(movie, split, segmenter, args)
    else:
        for split in splits:
            _key_object(movie, split, config, replace=args.replace)
    if failed:
        first = next(iter(failed))
        raise TrainingError(
            f"{len(failed)} clips have no usable answer: {named(failed)}; {first}: "
            f"{failed[first]}. Run the command again to ask for these"
        )


def _endpoint(args: argparse.Namespace, config: LabelsConfig) -> Endpoint:
    key = None
    if args.key_env is not None:
        key = os.environ.get(args.key_env, "").strip()
        if not key:
            raise TrainingError(f"the environment variable {args.key_env} is not set or empty")
    return Endpoint(args.endpoint, config.request, frames_may_leave=args.frames_may_leave, key=key)


def _segmenter(args: argparse.Namespace, config: LabelsConfig) -> Segmenter:
    if (args.endpoint is None) == (args.clipseg is None):
        raise TrainingError("expected one of --endpoint and --clipseg")
    if args.endpoint is not None:
        return HttpSegmenter(_endpoint(args, config), args.model or args.endpoint)
    # torch is not needed where a server does the work.
    from corticast_training.labels.clipseg import ClipSeg
    from corticast_training.targets.pretrained import device_named

    return ClipSeg(args.clipseg, config.segment, device_named(args.device))


def _describe(
    movie: Movie,
    split: str,
    vlm: VisionLanguageModel,
    args: argparse.Namespace,
    config: LabelsConfig,
) -> Mapping[str, str]:
    done = describe(
        movie, split, vlm, args.model, config, replace=args.replace, parallel=args.parallel
    )
    print(f"{split}: {done.asked - len(done.failed)} of {done.asked} clips described")
    if done.there:
        print(f"{split}: {done.there} answers were there from an earlier run")
    if done.own:
        print(f"{split}: {done.own} clips keep the caption they came with (--replace asks anew)")
    if done.long:
        print(
            f"warning: {len(done.long)} {split} captions are longer than the 77 tokens of CLIP's "
            f"text tower and will lose their end: {named(done.long)}"
        )
    return done.failed


def _say_classes(movie: Movie) -> None:
    used = {name for clip in movie.clips("train") for name in clip.classes}
    if empty := [name for name in CLASSES if name not in used]:
        print(f"warning: {len(empty)} of 51 classes are in no training clip: {', '.join(empty)}")


def _segment(
    movie: Movie, split: str, segmenter: Segmenter, args: argparse.Namespace
) -> Mapping[str, str]:
    done = segment(movie, split, segmenter, replace=args.replace, parallel=args.parallel)
    print(f"{split}: {done.asked - len(done.failed)} of {done.asked} clips segmented")
    if done.there:
        print(f"{split}: {done.there} clips had masks from an earlier run")
    if done.untagged:
        print(f"warning: {len(done.untagged)} {split} clips have no tags: {named(done.untagged)}")
    if done.empty:
        print(f"warning: nothing was found in {len(done.empty)} {split} clips: {named(done.empty)}")
    return done.failed


def _key_object(movie: Movie, split: str, config: LabelsConfig, *, replace: bool) -> None:
    done = discover(movie, split, config, replace=replace)
    print(f"{split}: key objects by rule: {_counts(done.rules)}")
    if done.classes:
        print(f"{split}: classes of key objects: {_counts(done.classes)}")
    if len(done.segmenters) > 1:
        print(f"warning: {split} has masks of several segmenters: {_counts(done.segmenters)}")


def _counts(counter: Mapping[Any, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in Counter(counter).most_common())
