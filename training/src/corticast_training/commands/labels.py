"""`corticast-train labels`: captions, tags, masks and key objects for clips that have none."""

import argparse
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corticast_training.data.inputs import add_inputs
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

EPILOG = """example, with servers that somebody started on this machine:
  corticast-train labels describe --data movie --endpoint http://127.0.0.1:8000/v1 --model NAME
  corticast-train labels segment --data movie --endpoint http://127.0.0.1:8001
  corticast-train labels key-object --data movie

Each step can be stopped and goes on where it was. Prompts and lists of categories stand in
presets/labels.toml of the package; --config FILE changes single keys.
"""
DESCRIBE = """Asks a vision-language model behind an OpenAI-compatible endpoint (vLLM, llama.cpp,
Ollama, ...) for a caption and tags of each clip. Every answer is a line of
DATA/labels/SPLIT.describe.jsonl as soon as it came; at the end all go into DATA/clips/.
"""
SEGMENT = """Asks an open-vocabulary segmenter for masks of each tag: a folder of CLIPSeg, or a
server that answers POST URL/segment:

  -> {"format": 1, "frames": ["<base64 PNG>", ...], "tags": ["dog", ...]}
  <- {"format": 1, "masks": [["<base64 grey PNG>", ...], ...]}

with a list for each tag and in it a PNG for each frame, of its size, 128 and more where the tag is.
"""
KEY_OBJECT = """Chooses the key object of each clip: the category whose centroid moves farthest,
people and animals first, background never. Writes DATA/clips/SPLIT.key_masks.safetensors and the
names; DATA/labels/SPLIT.key_objects.jsonl says why.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the steps and their options."""
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    for name, help_, text in (
        ("describe", "a caption and tags for each clip", DESCRIBE),
        ("segment", "masks of each tag", SEGMENT),
        ("key-object", "which tag is the key object, and its masks", KEY_OBJECT),
    ):
        step = steps.add_parser(
            name,
            help=help_,
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_inputs(step, "data")
        step.add_argument("--split", choices=SPLITS, help="only this one (default: both)")
        step.add_argument(
            "--config", type=Path, metavar="FILE", help="what differs from presets/labels.toml"
        )
        step.add_argument(
            "--replace", action="store_true", help="make anew what other means have made"
        )
        if name == "describe":
            step.add_argument("--model", required=True, help="as the server calls it")
        if name != "key-object":
            step.add_argument(
                "--endpoint",
                required=name == "describe",
                metavar="URL",
                help="with /v1 at its end" if name == "describe" else "a segmenter's server",
            )
            _add_request(step)
        if name == "segment":
            step.add_argument(
                "--model", metavar="NAME", help="of the server's segmenter (default: its URL)"
            )
            step.add_argument("--clipseg", type=Path, metavar="DIR", help="instead of --endpoint")
            step.add_argument("--device", default="auto", help="for CLIPSeg: auto, cpu or cuda:1")


def _add_request(step: argparse.ArgumentParser) -> None:
    step.add_argument(
        "--frames-may-leave",
        action="store_true",
        help="allow an endpoint that is not on this machine: the movie's frames go there",
    )
    step.add_argument("--key-env", metavar="NAME", help="environment variable with the API key")
    step.add_argument("--parallel", type=int, default=1, metavar="N", help="clips at once")


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
