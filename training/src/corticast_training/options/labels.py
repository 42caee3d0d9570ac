"""Options of `corticast-train labels`."""

import argparse
from pathlib import Path

from corticast_training.data.inputs import add_inputs
from corticast_training.data.layout import SPLITS

EPILOG = """example, with servers that run on this machine:
  corticast-train labels describe --data movie --endpoint http://127.0.0.1:8000/v1 --model NAME
  corticast-train labels segment --data movie --endpoint http://127.0.0.1:8001
  corticast-train labels key-object --data movie

Each step can be stopped and goes on where it was. Prompts and lists of categories stand in
presets/labels.toml of the package; --config FILE changes single keys.
"""

DESCRIBE = """Asks a vision-language model behind an OpenAI-compatible endpoint (vLLM, llama.cpp,
Ollama, ...) for a caption and tags of each clip. Every answer is a line of
DATA/labels/SPLIT.describe.jsonl as soon as it arrives; at the end all are written to DATA/clips/.
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
            "--config",
            type=Path,
            metavar="FILE",
            help="values that differ from presets/labels.toml",
        )
        step.add_argument(
            "--replace",
            action="store_true",
            help="replace labels that were made with other settings",
        )
        if name == "describe":
            step.add_argument("--model", required=True, help="the model's name on the server")
        if name != "key-object":
            step.add_argument(
                "--endpoint",
                required=name == "describe",
                metavar="URL",
                help="URL that ends with /v1" if name == "describe" else "a segmenter's server",
            )
            _add_request(step)
        if name == "segment":
            step.add_argument(
                "--model", metavar="NAME", help="name of the server's segmenter (default: its URL)"
            )
            step.add_argument("--clipseg", type=Path, metavar="DIR", help="instead of --endpoint")
            step.add_argument("--device", default="auto", help="for CLIPSeg: auto, cpu or cuda:1")


def _add_request(step: argparse.ArgumentParser) -> None:
    step.add_argument(
        "--frames-may-leave",
        action="store_true",
        help="allow an endpoint on another machine: the movie's frames are sent there",
    )
    step.add_argument("--key-env", metavar="NAME", help="environment variable with the API key")
    step.add_argument("--parallel", type=int, default=1, metavar="N", help="clips at once")
