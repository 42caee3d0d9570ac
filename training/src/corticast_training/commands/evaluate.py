"""`corticast-train evaluate`: decoded results in; a table, JSON and an HTML report out."""

import argparse
import tempfile
import tomllib
from pathlib import Path

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

EPILOG = """example:
  corticast replay --config site.toml --run movie/sub-01 --model models/neurons \\
      --results decoded/results.jsonl --conditions decoded/conditions
  corticast-train evaluate --results decoded --data movie --targets targets --out report

writes report/report.html, report/report.json and a table to the terminal. Runs of single
repeats and runs of their average (task-...mean) may be in one folder or, with --mean, in two.
A figure whose network is not named says "not computed". Nothing is downloaded.
"""
BASELINE = "baseline.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    parser.add_argument(
        "--results",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder of results.jsonl and conditions/, or a recording (.mcap)",
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="data set of `synth` or `cc2017`"
    )
    parser.add_argument(
        "--targets", type=Path, required=True, metavar="DIR", help="what `targets` wrote"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="REPORT_DIR", help="folder of the report"
    )
    parser.add_argument("--name", default="this model", help="what the report calls the results")
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument(
        "--mean", type=Path, metavar="FOLDER", help="results of BOLD averaged over repeats"
    )
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
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
    folders = {args.name: args.results, **_compared(args.compare, args.name)}
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
    for name, folder in folders.items():
        with tempfile.TemporaryDirectory(dir=args.out, prefix=".unpacked.") as scratch:
            joined = _joined(folder, args, movie, Path(scratch))
            systems[name] = score_system(joined, truth, networks, args.seed)
        if joined.n_unused:
            notes.append(
                f"{joined.n_unused} results of {name} belong to no {args.split} clip and were "
                "left out"
            )
        if difference := _difference(folder):
            differences[name] = difference
    evaluation = Evaluation(truth, systems, notes, differences, args.seed)
    write_aside(args.out / "report.json", as_json(evaluation))
    write_aside(args.out / "report.html", page(evaluation))
    print_tables(evaluation)
    print(f"wrote {args.out / 'report.html'} and report.json")


def _joined(folder: Path, args: argparse.Namespace, movie: Movie, scratch: Path) -> Joined:
    def joined(results: Path, place: str) -> Joined:
        found = read_results(results, scratch / place)
        return join(found, movie, args.split, str(results))

    whole = joined(folder, "results")
    if args.mean is None or folder != args.results:
        return whole
    mean = joined(args.mean, "mean")
    if mean.averaged is None:
        raise TrainingError(f"{args.mean}: no run of averaged BOLD in it, expected task-...mean")
    return Joined(whole.single, mean.averaged, whole.n_unused)


def _compared(compared: list[str], own: str) -> dict[str, Path]:
    folders = {}
    for text in compared:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise TrainingError(f"--compare {text}: expected NAME=FOLDER")
        if name == own or name in folders:
            raise TrainingError(f"--compare {text}: the name is taken, expected another")
        folders[name] = Path(folder)
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
