"""Reads a study from disk: data set, prepared BOLD, targets; refuses what does not fit."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from corticast_training.config import Sizes
from corticast_training.data.movie import Movie, read_bold, read_movie
from corticast_training.errors import TrainingError
from corticast_training.labels.classes import CLASSES
from corticast_training.targets.store import Targets, read_targets
from corticast_training.training.study import FRAME, Study, SubjectBold


def read_study(
    data: Path, prepared: Mapping[str, Path], targets_folder: Path, sizes: Sizes
) -> Study:
    """The training half of a data set, for the subjects that `prepared` names."""
    if sizes.n_frame < FRAME + 2:
        raise TrainingError(
            f"sizes.n_frame is {sizes.n_frame}, expected {FRAME + 2} or more: "
            f"frames {FRAME} and {FRAME + 1} stand for their clip"
        )
    movie = read_movie(data)
    clips = movie.clips("train")
    targets = read_targets(targets_folder, sizes)
    check_targets(movie, targets)
    subjects = []
    for subject, folder in prepared.items():
        bold = read_bold(movie, subject, folder, "train")
        subjects.append(SubjectBold(subject, bold.windows, bold.clip_index, bold.prepared))
    _check_windows(subjects)
    rows = {name: row for row, name in enumerate(CLASSES)}
    key_class = [-1 if clip.key_class is None else rows.get(clip.key_class, -1) for clip in clips]
    # Where a name has no class, it is always asked for by its name.
    classes = np.array(key_class)
    known = np.where(classes < 0, targets.train.key_name, classes)
    facts = movie.facts
    return Study(
        subjects=subjects,
        targets=targets,
        clips=[clip.clip for clip in clips],
        segments=[clip.segment for clip in clips],
        key_class=known.astype(np.int64),
        data={
            **targets.facts.get("data", {}),
            "name": facts.name,
            "kind": facts.kind,
            "repetition_time_s": facts.repetition_time_s,
            "hrf_delay_s": facts.hrf_delay_s,
            "clip_s": facts.clip_s,
            "n_frame": facts.n_frame,
        },
    )


def check_targets(movie: Movie, targets: Targets) -> None:
    """Raises `TrainingError` where the targets are of another data set, or of nothing."""
    data = targets.facts.get("data", {})
    if data.get("name") != movie.facts.name or data.get("kind") != movie.facts.kind:
        raise TrainingError(
            f"{targets.folder}: made of {data.get('kind')} {data.get('name')!r}, "
            f"expected {movie.facts.kind} {movie.facts.name!r}"
        )
    if len(targets.train) != movie.facts.n_train:
        raise TrainingError(
            f"{targets.folder}: {len(targets.train)} training clips, "
            f"{movie.folder} has {movie.facts.n_train}"
        )
    if not targets.train.labels.any():
        raise TrainingError(
            f"{targets.folder}: no training clip shows any of the {len(CLASSES)} classes, "
            "expected labels: run `corticast-train labels` and `targets` again"
        )


def _check_windows(subjects: list[SubjectBold]) -> None:
    first = subjects[0]
    for own in subjects[1:]:
        found, expected = own.windows.shape[2], first.windows.shape[2]
        if found != expected:
            raise TrainingError(
                f"subject {own.subject}: windows of {found} volumes, expected {expected} as of "
                f"subject {first.subject}: one backbone reads them all"
            )
        for key in ("repetition_time_s", "hrf_delay_s"):
            if own.prepared.signal[key] != first.prepared.signal[key]:
                raise TrainingError(
                    f"subject {own.subject}: {key} is {own.prepared.signal[key]}, expected "
                    f"{first.prepared.signal[key]} as of subject {first.subject}"
                )
