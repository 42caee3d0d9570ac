"""`corticast-train voxels`: inter-repetition selection of voxels, a mask the daemon reads."""

import argparse
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from corticast_training.data.movie import Movie, read_movie
from corticast_training.data.nifti import write_map
from corticast_training.data.reliability import (
    MIN_SEGMENTS,
    Reliability,
    most_reliable,
    reliability,
    segment_z,
    significant,
)
from corticast_training.data.repeats import brain_of, runs_of, time_courses
from corticast_training.data.voxel_report import draw_slices, write_table
from corticast_training.errors import TrainingError
from corticast_training.progress import progress

FEW = 10
"""Fewer voxels than this are no model's input."""


def run(args: argparse.Namespace) -> None:
    """Selects and writes. Raises `TrainingError` with what is to be put right."""
    _check(args)
    movie = read_movie(args.data)
    inside, affine = brain_of(movie, args.subject)
    segments = runs_of(movie, args.subject, "train")
    if len(segments) < MIN_SEGMENTS:
        raise TrainingError(
            f"{args.data}: {len(segments)} training segments, expected at least {MIN_SEGMENTS}"
        )
    z = np.stack(
        [
            segment_z(time_courses(movie, runs, inside), args.detrend)
            for runs in progress(segments, len(segments), "segments")
        ]
    )
    found = reliability(z, correction=args.correction, one_sided=args.one_sided)
    if args.top is not None:
        selected = most_reliable(found, args.top)
    else:
        selected = significant(found, args.alpha, args.min_r)
    _report_counts(found, selected, args, len(segments[0]))
    truth = _against_truth(movie, args.subject, inside, selected)
    if selected.sum() < FEW and args.top is None:
        raise TrainingError(_too_few(found, selected, args))

    out = args.out or movie.layout.mask(args.subject)
    if not out.name.endswith((".nii", ".nii.gz")):
        raise TrainingError(f"{out}: expected a name that ends in .nii.gz")
    folder = args.report or out.parent
    for needed in (out.parent, folder):
        needed.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(inside.shape, np.uint8)
    mask[inside] = selected
    stem = out.name.removesuffix(".gz").removesuffix(".nii")
    write_table(folder / f"{stem}.tsv", inside, found, selected)
    (folder / f"{stem}.json").write_text(
        json.dumps(_summary(found, selected, args, len(segments[0]), truth), indent=2) + "\n",
        encoding="utf-8",
    )
    title = f"sub-{args.subject}: {int(selected.sum())} of {int(found.tested.sum())} voxels"
    draw_slices(folder / f"{stem}.png", inside, found, selected, affine, title)
    write_map(out, mask, affine)
    print(f"wrote {out}, and {stem}.json, {stem}.tsv, {stem}.png in {folder}")


def _check(args: argparse.Namespace) -> None:
    if not 0 < args.alpha < 1:
        raise TrainingError(f"--alpha is {args.alpha}, expected a probability between 0 and 1")
    if args.detrend < 0:
        raise TrainingError(f"--detrend is {args.detrend}, expected 0 or more")
    if args.top is not None and args.top < 1:
        raise TrainingError(f"--top is {args.top}, expected 1 or more")
    if not 0 <= args.min_r < 1:
        raise TrainingError(f"--min-r is {args.min_r}, expected 0 or more, below 1")


def _rule(args: argparse.Namespace) -> str:
    if args.top is not None:
        return f"the {args.top} most reliable"
    sides = "one-sided" if args.one_sided else "two-sided"
    how = "not corrected" if args.correction == "none" else f"{args.correction}-corrected"
    more = f", r > {args.min_r:g}" if args.min_r else ""
    return f"P < {args.alpha:g}, {how}, {sides}{more}"


def _report_counts(
    found: Reliability, selected: NDArray[np.bool_], args: argparse.Namespace, n_repeat: int
) -> None:
    n_tested = int(found.tested.sum())
    left_out = len(found.p) - n_tested
    print(f"{len(found.z)} segments, {n_repeat} repeats, {n_tested} voxels tested")
    if left_out:
        print(f"left out: {left_out} voxels that are constant or NaN in some run")
    print(f"{int(selected.sum())} voxels survive ({_rule(args)})")
    if selected.any():
        low, middle, high = np.quantile(found.r[selected], (0.1, 0.5, 0.9))
        print(
            f"inter-repetition r of these: median {middle:.2f}, 10 to 90 %: {low:.2f} to {high:.2f}"
        )


def _too_few(found: Reliability, selected: NDArray[np.bool_], args: argparse.Namespace) -> str:
    text = (
        f"{int(selected.sum())} voxels survive {_rule(args)}, expected at least {FEW}: "
        f"the smallest uncorrected P of {int(found.tested.sum())} voxels is "
        f"{found.smallest_p():.2g}"
    )
    if len(found.z) < 10:
        text += f"; with {len(found.z)} segments the test has little power"
    return text + ". Nothing was written. Try --one-sided, --correction fdr, or --top N"


def _against_truth(
    movie: Movie, subject: str, inside: NDArray[np.bool_], selected: NDArray[np.bool_]
) -> dict[str, Any] | None:
    path = movie.layout.truth(subject)
    if not path.is_file():
        return None
    area = load_file(path).get("area")
    if area is None or area.shape != inside.shape:
        return None
    informative = area[inside] > 0
    hit, wrong = int((selected & informative).sum()), int((selected & ~informative).sum())
    n_true, n_false = int(informative.sum()), int((~informative).sum())
    print(
        f"truth is known: {hit} of {n_true} informative voxels found "
        f"({100 * hit / max(n_true, 1):.0f} %), {wrong} of {n_false} others taken by mistake"
    )
    return {
        "informative": n_true,
        "found": hit,
        "sensitivity": hit / max(n_true, 1),
        "false_positives": wrong,
        "not_informative": n_false,
    }


def _summary(
    found: Reliability,
    selected: NDArray[np.bool_],
    args: argparse.Namespace,
    n_repeat: int,
    truth: dict[str, Any] | None,
) -> dict[str, Any]:
    r = np.where(found.tested, found.r, np.nan)
    return {
        "subject": args.subject,
        "rule": _rule(args),
        "alpha": args.alpha,
        "correction": args.correction,
        "one_sided": args.one_sided,
        "min_r": args.min_r,
        "top": args.top,
        "detrend": args.detrend,
        "n_segment": len(found.z),
        "n_repeat": n_repeat,
        "n_brain": len(found.p),
        "n_tested": int(found.tested.sum()),
        "n_selected": int(selected.sum()),
        "median_r_selected": float(np.median(r[selected])) if selected.any() else None,
        "mean_r_of_segments": [
            float(np.tanh(np.nanmean(one[selected]))) if selected.any() else None for one in found.z
        ],
        "truth": truth,
    }
