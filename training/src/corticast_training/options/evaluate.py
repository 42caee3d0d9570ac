"""Options of `corticast-train evaluate`."""

import argparse
from pathlib import Path

from corticast_training.data.inputs import add_inputs

EPILOG = """what it needs:
  RESULTS  what was decoded: a folder with results.jsonl and conditions/, or a recording (.mcap)
  DATA     what was shown: a data set of `corticast-train synth` or `cc2017`
  TARGETS  what should have been decoded: `corticast-train targets` of the same data set

example, for a model of subject 1:
  movie=data/sub-01/func/sub-01_task-test01
  corticast replay --config data/prepare.toml --set signal.mask=data/sub-01/mask.nii.gz \\
      --model model --run ${movie}_run-1_bold.nii.gz,${movie}_run-1_events.tsv \\
      --results decoded/results.jsonl --conditions decoded/conditions
  corticast-train evaluate --results decoded --data data --targets targets --out report

It writes report/report.html (open it in a browser; it needs no network), report/report.json and
a table to the terminal. Every figure stands beside a permuted control, with 95 % intervals.

Single repeats and the average of repeats (runs of task-...mean, which `synth` and `cc2017` write)
stand side by side. They may be in one folder; else name that of the average with --mean.
Several folders or recordings of one subject: --results session-1.mcap session-2.mcap

Figures that rest on pretrained networks need these in local folders. Nothing is downloaded; where
one is not named its figures say "not computed":
  --pretrained        pictures, CLIP-pcc           folder of the VAE and CLIP, as for `targets`
  --image-classifier  frame-based 2-way, 50-way    ViT on ImageNet, a folder of `transformers`
  --video-classifier  video-based 2-way, 50-way    VideoMAE on Kinetics, the same
  --nltk, --word-vectors   verb accuracy           averaged_perceptron_tagger_eng; GloVe
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    parser.add_argument(
        "--results",
        type=Path,
        nargs="+",
        required=True,
        metavar="RESULTS",
        help="folders of results.jsonl and conditions/, or recordings (.mcap)",
    )
    add_inputs(parser, "data", "targets")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="REPORT", help="folder of the report"
    )
    parser.add_argument("--name", default="this model", help="what the report calls the results")
    parser.add_argument(
        "--split", choices=("test", "train"), default="test", help="clips to score (default: test)"
    )
    parser.add_argument(
        "--mean",
        type=Path,
        nargs="+",
        default=[],
        metavar="RESULTS",
        help="results of BOLD averaged over repeats, if --results has none",
    )
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="NAME=RESULTS",
        help="other results on the same data, such as a baseline's; may be repeated",
    )
    parser.add_argument(
        "--pretrained",
        metavar="tiny|DIR",
        help="VAE and CLIP (default: tiny where the targets were made with it)",
    )
    parser.add_argument(
        "--vae", type=Path, metavar="DIR", help="folder of the VAE (default: PRETRAINED/vae)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    parser.add_argument(
        "--image-classifier", type=Path, metavar="DIR", help="such as ViT on ImageNet"
    )
    parser.add_argument(
        "--video-classifier", type=Path, metavar="DIR", help="such as VideoMAE on Kinetics"
    )
    parser.add_argument("--nltk", type=Path, metavar="DIR", help="nltk_data with the tagger")
    parser.add_argument(
        "--word-vectors", type=Path, metavar="FILE", help="GloVe or word2vec text, or safetensors"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of intervals and controls")
