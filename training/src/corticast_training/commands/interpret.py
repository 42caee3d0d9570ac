"""`corticast-train interpret`: which of the four tasks each voxel serves."""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from corticast_training.data.movie import read_bold, read_movie
from corticast_training.errors import TrainingError
from corticast_training.interpret import TASKS, truth
from corticast_training.interpret.embeddings import standardised, task_embeddings
from corticast_training.interpret.maps import draw_slices, read_mask, write_nifti
from corticast_training.interpret.network import Array, fit_network
from corticast_training.interpret.ridge import groups_of, ridge_scores
from corticast_training.interpret.settings import Settings
from corticast_training.model_folder import date
from corticast_training.targets.store import read_targets
from corticast_training.training.checkpoint import load_decoupler
from corticast_training.training.read import check_targets

REPORT = "interpret.json"
T = TypeVar("T", int, float)


def run(args: argparse.Namespace) -> None:
    """Embeds, fits, compares, draws. Raises `TrainingError` with what is to be put right."""
    _refuse_existing(args.out, args.force)
    subject, prepared = _subject(args)
    settings = Settings(
        width=_positive(args.width, "--width"),
        epochs=_positive(args.epochs, "--epochs"),
        learning_rate=_positive(args.learning_rate, "--learning-rate"),
        seed=args.seed,
    )
    _, _, decoupler, config, facts = load_decoupler(args.decoupler)
    if not config.decoupler.decoupled:
        raise TrainingError(
            f"{args.decoupler}: trained with decoupler.decoupled = false, its four tasks are as "
            "they began; expected a decoupler that has learned them"
        )
    targets = read_targets(args.targets, config.sizes)
    if targets.sha256 != facts["targets"]["sha256"]:
        raise TrainingError(
            f"{args.targets}: other targets than those of the decoupler, expected sha256 "
            f"{facts['targets']['sha256']}, found {targets.sha256}"
        )
    movie = read_movie(args.data)
    check_targets(movie, targets)
    found = read_bold(movie, subject, prepared, "train")
    mask_path = args.mask or movie.layout.mask(subject)
    mask, affine = read_mask(mask_path, found.prepared.mask)

    # Repeats and the volumes of a window are averaged: what is asked is where, not when.
    bold = found.windows.mean(axis=(0, 2))
    clips = movie.clips("train")
    segments = np.array([clips[row].segment for row in found.clip_index], dtype=np.int64)
    groups = groups_of(segments)
    train, validation = split_groups(groups, args.validation, args.seed)
    bold = _standard(bold, train)
    raw = task_embeddings(decoupler, targets, "train", found.clip_index)
    embeddings = standardised(raw, train)
    fitted = fit_network(embeddings, bold, train, validation, settings)
    ridge = ridge_scores(embeddings, bold, groups)
    areas = truth.read_areas(movie.layout.truth(subject), mask)

    report: dict[str, Any] = {
        "subject": subject,
        "date": date(),
        "clips": {"train": len(train), "validation": len(validation)},
        "voxels": int(mask.sum()),
        "settings": vars(settings),
        "loss": {"first": fitted.loss[0], "last": fitted.loss[-1]},
        "score": _summary(fitted.correlation),
        "weights": {t: _summary(fitted.weights[:, k]) for k, t in enumerate(TASKS)},
        "ridge": {t: _summary(ridge[t]) for t in TASKS},
        "weights_with_ridge": _rank_agreement(fitted.weights, ridge, fitted.correlation),
    }
    if areas is not None:
        report["truth"] = truth.agreement(areas, fitted.weights, fitted.correlation, ridge)
    weights = {t: fitted.weights[:, k] for k, t in enumerate(TASKS)}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{args.out.name}.", dir=args.out.parent))
    try:
        new = aside / "new"
        new.mkdir()
        write_nifti(new / "score.nii.gz", fitted.correlation, mask, affine)
        for task in TASKS:
            write_nifti(new / f"weights_{task}.nii.gz", weights[task], mask, affine)
            write_nifti(new / f"ridge_{task}.nii.gz", ridge[task], mask, affine)
        title = f"sub-{subject}: share of each task"
        draw_slices(new / "slices.png", weights, mask, title, _limits(fitted.weights))
        scores = {"all tasks": fitted.correlation, **ridge}
        draw_slices(
            new / "scores.png",
            scores,
            mask,
            f"sub-{subject}: correlation with held-out BOLD, all tasks and ridge by task",
            (-_top(scores), _top(scores)),
            "RdBu_r",
        )
        (new / REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")
        if args.out.exists():
            args.out.rename(aside / "old")
        new.rename(args.out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    print(_text(report))
    print(f"wrote {args.out}")


def split_groups(
    groups: NDArray[np.int64], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows held out: whole groups, about `fraction` of all, at least one."""
    if not 0 < fraction < 1:
        raise TrainingError(f"--validation is {fraction}, expected a fraction between 0 and 1")
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    n_held = min(max(1, round(fraction * len(names))), len(names) - 1)
    held = np.isin(groups, names[:n_held])
    return np.flatnonzero(~held), np.flatnonzero(held)


def _refuse_existing(out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise TrainingError(f"{out}: exists, expected a new folder (--force replaces one of maps)")
    if out.exists() and any(out.iterdir()) and not (out / REPORT).is_file():
        raise TrainingError(f"{out}: --force replaces a folder of maps, but no {REPORT} is in it")


def _subject(args: argparse.Namespace) -> tuple[str, Path]:
    subject, equals, folder = args.prepared.partition("=")
    if not equals or not subject or not folder:
        raise TrainingError(f"--prepared is {args.prepared!r}, expected SUBJECT=DIR, e.g. 01=dir")
    if args.subject is not None and args.subject != subject:
        raise TrainingError(f"--subject is {args.subject}, --prepared is of {subject}")
    return subject, Path(folder)


def _positive(value: T, name: str) -> T:
    if not value > 0:
        raise TrainingError(f"{name} is {value}, expected more than 0")
    return value


def _standard(bold: Array, train: NDArray[np.int64]) -> Array:
    mean, spread = bold[train].mean(0), bold[train].std(0)
    result: Array = (bold - mean) / np.where(spread > 1e-6, spread, 1.0)
    return result.astype(np.float32)


def _summary(values: Array) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "p95": float(np.quantile(values, 0.95)),
    }


def _rank_agreement(weights: Array, ridge: dict[str, Array], score: Array) -> dict[str, float]:
    """How often the task of the largest weight is the one that ridge explains best."""
    alone = np.stack([ridge[task] for task in TASKS], axis=1)
    same = weights.argmax(1) == alone.argmax(1)
    best = score >= np.quantile(score, 0.75)
    return {
        "same_task": float(same.mean()),
        "same_task_best_quarter": float(same[best].mean()),
        "chance": 1 / len(TASKS),
    }


def _limits(weights: Array) -> tuple[float, float]:
    return 0.0, max(float(np.quantile(weights, 0.99)), 1.5 / len(TASKS))


def _top(maps: dict[str, Array]) -> float:
    return max(0.1, max(float(np.quantile(np.abs(values), 0.99)) for values in maps.values()))


def _text(report: dict[str, Any]) -> str:
    lines = [f"{'':<16}{'weight':>8}{'ridge r':>9}{'ridge r, p95':>14}"]
    weights, ridge, score = report["weights"], report["ridge"], report["score"]
    for task in TASKS:
        lines.append(
            f"{task:<16}{weights[task]['mean']:>8.3f}{ridge[task]['mean']:>9.3f}"
            f"{ridge[task]['p95']:>14.3f}"
        )
    lines.append(
        f"all tasks: correlation with held-out BOLD {score['mean']:.3f} on average, "
        f"{score['p95']:.3f} at the 95th percentile of voxels"
    )
    for name, row in report.get("truth", {}).items():
        text = f"  area {name:<9}{row['voxels']:>5} voxels, r {row['score']:.3f}"
        if "expected" in row:
            wanted = " + ".join(row["expected"])
            text += f", weight of {wanted} {row['weight_over_chance']:+.3f} over chance"
        lines.append(text)
    return "\n".join(lines)
