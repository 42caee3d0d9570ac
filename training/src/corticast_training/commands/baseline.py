"""`corticast-train baseline`: a simpler decoder, fitted and run on the same data."""

import argparse
from typing import Any

import numpy as np

from corticast_training import __version__
from corticast_training.baseline import neuroclips, nishimoto, wen
from corticast_training.baseline.answer import refuse_existing, write_results
from corticast_training.baseline.bold import chosen_subject, flat, has_mean, read_test_runs
from corticast_training.baseline.library import Library
from corticast_training.baseline.neuroclips import NeuroClipsLike
from corticast_training.baseline.nishimoto import NishimotoLike
from corticast_training.baseline.ridge import folds_of
from corticast_training.baseline.wen import WenLike
from corticast_training.data.inputs import prepared_folders
from corticast_training.data.movie import read_movie
from corticast_training.errors import TrainingError
from corticast_training.evaluate.truth import sizes_of
from corticast_training.model_folder import versions
from corticast_training.training.read import read_study

DIFFERENCES = {
    "wen-like": wen.DIFFERENCE,
    "nishimoto-like": nishimoto.DIFFERENCE,
    "neuroclips-like": neuroclips.DIFFERENCE,
}


def run(args: argparse.Namespace) -> None:
    """Fits, decodes and writes. Raises `TrainingError` with what is to be put right."""
    refuse_existing(args.out)
    _check_options(args)
    prepared = prepared_folders(args.prepared)
    subject = chosen_subject(args.subject, prepared)
    folder = prepared[subject]
    study = read_study(args.data, {subject: folder}, args.targets, sizes_of(args.targets))
    (own,) = study.subjects
    movie = read_movie(args.data)
    runs = read_test_runs(movie, subject, folder, own.prepared)
    library = Library(own.clip, study, movie)
    windows = flat(own.windows)
    print(
        f"subject {subject}: {len(library)} training clips in {len(windows)} repeats, "
        f"{windows.shape[2]} numbers a window; {len(runs)} test runs"
    )
    fitted: WenLike | NishimotoLike | NeuroClipsLike
    if args.preset == "wen-like":
        fitted = WenLike.fit(windows, library, folds_of(library.segments, args.folds))
        _say_choices(fitted)
    elif args.preset == "nishimoto-like":
        folds = folds_of(library.segments, args.folds)
        fitted = NishimotoLike.fit(windows, library, folds, args.average)
        _say_voxels(fitted)
    else:
        fitted = NeuroClipsLike(args.model, subject, own.prepared.window_shape, args.seed)
        fitted.check(own.prepared, study.targets)
    facts: dict[str, Any] = {
        "name": args.preset,
        "difference": DIFFERENCES[args.preset],
        "subject": subject,
        "data": study.data,
        "prepared_sha256": own.prepared.sha256,
        "targets_sha256": study.targets.sha256,
        "n_train": len(library),
        "fit": fitted.facts(),
        "provenance": {
            "tool": "corticast-train baseline",
            "version": __version__,
            "libraries": versions(("numpy", "scikit-learn")),
        },
    }
    n = write_results(args.out, fitted, runs, facts)
    print(f"wrote {args.out}: {n} results of {args.preset}")
    if not has_mean(runs):
        print("there is no run of averaged BOLD (task-...mean): its figures will be missing")


def _check_options(args: argparse.Namespace) -> None:
    if args.average is not None and (args.preset != "nishimoto-like" or args.average < 1):
        raise TrainingError("--average: expected 1 or more, with --preset nishimoto-like only")
    if (args.model is None) == (args.preset == "neuroclips-like"):
        raise TrainingError("--model: expected with --preset neuroclips-like, and with no other")
    if args.folds is not None and args.preset == "neuroclips-like":
        raise TrainingError("--folds: nothing is fitted with --preset neuroclips-like")
    if args.seed < 0:
        raise TrainingError(f"--seed {args.seed}: expected 0 or more")


def _say_choices(fitted: WenLike) -> None:
    for name, choice in fitted.choices.items():
        print(
            f"{name}: {choice.explained:.1%} of the held-out variance explained, "
            f"strength {choice.strength:.3g}"
        )
        if choice.at_edge:
            print("warning: this is the edge of what was tried, the best may lie beyond")


def _say_voxels(fitted: NishimotoLike) -> None:
    found = fitted.encoding.correlation
    print(
        f"{len(found)} voxels are predicted, their correlation with held-out BOLD is "
        f"{np.median(found):.2f} at the median, {found.max():.2f} at most; "
        f"{fitted.n_averaged} clips are averaged"
    )
