"""`corticast-train evaluate`: decoded results in; a table, JSON and an HTML report out."""

import argparse
import tempfile
import tomllib
from collections.abc import Sequence
from itertools import chain
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

BASELINE = "baseline.toml"


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
