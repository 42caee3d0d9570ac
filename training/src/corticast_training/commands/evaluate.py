"""`corticast-train evaluate`: decoded results in; a table, JSON and an HTML report out."""

import argparse
import tempfile
import tomllib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from corticast_training.data.inputs import add_inputs
from corticast_training.data.movie import Movie, read_movie
from corticast_training.errors import TrainingError
from corticast_training.evaluate.classifiers import image_classifier, video_classifier
from corticast_training.evaluate.join import Joined, join
from corticast_training.evaluate.report.page import page
from corticast_training.evaluate.results import read_results
from corticast_training.evaluate.scoring import Networks, Scores, score_system
from corticast_training.evaluate.statistics import NotComputed
from corticast_training.evaluate.summary import Evaluation, as_json, write_aside
from corticast_training.evaluate.terminal import print_tables
from corticast_training.evaluate.truth import Truth, read_truth
from corticast_training.evaluate.verbs import VerbFinder
from corticast_training.targets.pretrained import TINY, Pretrained, load
from corticast_training.targets.store import Targets

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
BASELINE = "baseline.toml"


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
        help="results of BOLD averaged over repeats, where they are not in --results",
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
    parser.add_argument("--vae", type=Path, metavar="DIR", help="default: PRETRAINED/vae")
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
    parser.add_argument("--seed", type=int, default=0, help="of intervals and controls")


def run(args: argparse.Namespace) -> None:
    """Scores all systems and writes the report. Raises `TrainingError`."""
    movie = read_movie(args.data)
    truth, targets = read_truth(movie, args.targets, args.split)
    found = {args.name: args.results, **_compared(args.compare, args.name)}
    networks = Networks(
        pretrained=_pretrained(args, truth, targets),
        images=image_classifier(args.image_classifier) if args.image_classifier else None,
        videos=video_classifier(args.video_classifier) if args.video_classifier else None,
        verbs=VerbFinder(args.nltk) if args.nltk else None,
        word_vectors=args.word_vectors,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    systems: dict[str, dict[str, Scores | NotComputed]] = {}
    notes, differences = _notes(targets, networks.pretrained), {}
    for name, places in found.items():
        with tempfile.TemporaryDirectory(dir=args.out, prefix=".unpacked.") as scratch:
            mean = args.mean if name == args.name else []
            joined = _joined(places, mean, movie, args.split, Path(scratch))
            systems[name] = score_system(joined, truth, networks, args.seed)
        if joined.n_unused:
            notes.append(
                f"{joined.n_unused} results of {name} belong to no {args.split} clip and were "
                "left out"
            )
        if difference := _difference(places[0]):
            differences[name] = difference
    evaluation = Evaluation(truth, systems, notes, differences, args.seed)
    write_aside(args.out / "report.json", as_json(evaluation))
    write_aside(args.out / "report.html", page(evaluation))
    print_tables(evaluation)
    print(f"wrote {args.out / 'report.html'} and report.json")


def _joined(
    places: Sequence[Path], mean: Sequence[Path], movie: Movie, split: str, scratch: Path
) -> Joined:
    def joined(paths: Sequence[Path], kind: str) -> Joined:
        unpacked = (scratch / f"{kind}{k}" for k in range(len(paths)))
        found = chain.from_iterable(map(read_results, paths, unpacked))
        return join(found, movie, split, ", ".join(map(str, paths)))

    whole = joined(places, "results")
    if not mean:
        return whole
    averaged = joined(mean, "mean").averaged
    if averaged is None:
        named = ", ".join(map(str, mean))
        raise TrainingError(f"{named}: no run of averaged BOLD in it, expected task-...mean")
    return Joined(whole.single, averaged, whole.n_unused)


def _compared(compared: list[str], own: str) -> dict[str, list[Path]]:
    folders: dict[str, list[Path]] = {}
    for text in compared:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise TrainingError(f"--compare {text}: expected NAME=RESULTS")
        if name == own or name in folders:
            raise TrainingError(f"--compare {text}: the name is taken, expected another")
        folders[name] = [Path(folder)]
    return folders


def _pretrained(args: argparse.Namespace, truth: Truth, targets: Targets) -> Pretrained | None:
    made_with = targets.facts.get("pretrained", {}).get("name")
    name = args.pretrained or (TINY if made_with == TINY else None)
    return load(name, truth.sizes, vae=args.vae, device=args.device) if name else None


def _notes(targets: Targets, pretrained: Pretrained | None) -> list[str]:
    if pretrained is None or not pretrained.tiny:
        return []
    return [
        "CLIP and VAE are the tiny built-in set: figures that rest on them (retrieval, CLIP-pcc, "
        "pictures) say nothing about real videos"
    ]


def _difference(folder: Path) -> str | None:
    path = folder / BASELINE
    if not path.is_file():
        return None
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: not TOML: {error}") from error
    return str(facts.get("difference", "")) or None
