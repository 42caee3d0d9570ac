"""Which clip was on the screen when a result's stimulus was shown.

A result belongs to the clip whose onset in the run's events.tsv is nearest to its stimulus
time, within half a TR. A clip takes one result of each run, the nearest in time.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.data.layout import RunName
from corticast_training.data.movie import Movie
from corticast_training.errors import TrainingError
from corticast_training.evaluate.results import Result

TOLERANCE_S = 1e-6

Taken = Mapping[int, tuple[float, Result]]
"""Position of a clip → how far its result is from its onset, seconds, and that result."""


@dataclass(frozen=True)
class Repeat:
    """Results of one showing of the test movie, over all its runs."""

    name: str
    clip: NDArray[np.int64]
    """Shape `[n]`, ascending: position of each result's clip in the split."""
    results: list[Result]


@dataclass(frozen=True)
class Joined:
    """Results, by the kind of BOLD that they were decoded from."""

    single: list[Repeat]
    """One for each repeat."""
    averaged: Repeat | None
    """Of BOLD that was averaged over repeats."""
    n_unused: int
    """Results of other clips, or of no clip."""


def join(results: Iterable[Result], movie: Movie, split: str, where: str) -> Joined:
    """Finds the clip of each result among those of `split`.

    Raises `TrainingError` if no result belongs to a clip, if the results are of more than one
    subject, or if a run appears twice.
    """
    position = {clip.clip: k for k, clip in enumerate(movie.clips(split))}
    events: dict[RunName, list[tuple[float, str]]] = {}
    single: dict[int, dict[int, tuple[float, Result]]] = defaultdict(dict)
    averaged: dict[int, tuple[float, Result]] = {}
    n_result, subjects, unknown = 0, set(), set()
    seen: set[tuple[str, float]] = set()
    for result in results:
        n_result += 1
        run = RunName.parse(result.run)
        if run is None or not movie.layout.events(run).is_file():
            unknown.add(result.run)
            continue
        if (result.run, result.stimulus_time_s) in seen:
            raise TrainingError(
                f"{where}: {result.run} has two results of the stimulus at "
                f"{result.stimulus_time_s} s, expected one: is the run in two folders?"
            )
        seen.add((result.run, result.stimulus_time_s))
        if run not in events:
            events[run] = _read(movie.layout.events(run))
        nearest = _nearest(events[run], result.stimulus_time_s, movie.facts.repetition_time_s / 2)
        if nearest is None or nearest[1] not in position:
            continue
        away_s, clip = nearest[0], position[nearest[1]]
        subjects.add(run.subject)
        taken = averaged if run.mean else single[run.repeat]
        if clip not in taken or away_s < taken[clip][0]:
            taken[clip] = (away_s, result)
    if not subjects:
        known = f"; {len(unknown)} runs are not its own, such as {min(unknown)}" if unknown else ""
        raise TrainingError(
            f"{where}: none of {n_result} results belongs to a {split} clip of {movie.folder}"
            f"{known}: are these results of another data set?"
        )
    if len(subjects) > 1:
        raise TrainingError(f"{where}: found subjects {', '.join(sorted(subjects))}, expected one")
    repeats = [_as_repeat(f"run {number}", single[number]) for number in sorted(single)]
    mean = _as_repeat("mean of the repeats", averaged) if averaged else None
    n_used = sum(len(one.results) for one in (*repeats, *((mean,) if mean else ())))
    return Joined(repeats, mean, n_result - n_used)


def _as_repeat(name: str, taken: Taken) -> Repeat:
    clips = sorted(taken)
    return Repeat(name, np.array(clips, dtype=np.int64), [taken[clip][1] for clip in clips])


def _read(path: Path) -> list[tuple[float, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        columns = list(reader.fieldnames or [])
        if "onset" not in columns or "clip" not in columns:
            raise TrainingError(f"{path}: columns are {columns}, expected onset and clip")
        try:
            rows = [(float(row["onset"]), row["clip"]) for row in reader]
        except (TypeError, ValueError) as error:
            raise TrainingError(f"{path}: an onset is no number: {error}") from error
    return sorted(row for row in rows if row[1] not in (None, "", "n/a"))


def _nearest(
    events: Sequence[tuple[float, str]], time_s: float, tolerance_s: float
) -> tuple[float, str] | None:
    away = [(abs(onset_s - time_s), clip) for onset_s, clip in events]
    best = min(away, default=None)
    return best if best is not None and best[0] <= tolerance_s + TOLERANCE_S else None
