"""One subject's BOLD for a baseline: windows of the training clips, and of every test run.

Training windows come from `read_study`, as for the networks. Each test run is decoded on its
own, window by window as in a live session: every repeat, and runs of averaged BOLD if there are
any. They must be prepared like the training runs: a decoder knows no other voxels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.data.layout import RunName
from corticast_training.data.movie import Movie, join_run
from corticast_training.data.prepared import BINDING, PreparedData, PreparedRun, read_prepared
from corticast_training.data.tensor_file import map_tensors
from corticast_training.errors import TrainingError


@dataclass(frozen=True)
class RunWindows:
    """The windows of one run that answer a clip. D counts the numbers of a window: S·V."""

    run: str
    windows: NDArray[np.float32]
    """`[n, D]`"""
    stimulus_time_s: NDArray[np.float64]
    """`[n]`, since the start of the run."""
    index: NDArray[np.int64]
    """`[n]`: newest volume of each window."""


def chosen_subject(subject: str | None, prepared: dict[str, Path]) -> str:
    """`--subject`, or the only one that is prepared."""
    if subject is None:
        if len(prepared) > 1:
            raise TrainingError(
                f"--prepared names subjects {', '.join(prepared)}: choose one with --subject"
            )
        return next(iter(prepared))
    if (name := subject.removeprefix("sub-")) not in prepared:
        raise TrainingError(
            f"--subject {name}: --prepared names {', '.join(prepared)}, expected it among them"
        )
    return name


def read_test_runs(
    movie: Movie, subject: str, folder: Path, training: PreparedData
) -> list[RunWindows]:
    """All test runs of a subject, single ones first.

    Raises `TrainingError` where one is missing or was prepared in another way than `training`.
    Runs of averaged BOLD may all be missing.
    """

    def wanted(name: str) -> bool:
        run = RunName.parse(name)
        return run is not None and (run.subject, run.split) == (subject, "test")

    prepared = read_prepared(folder, wanted)
    _check_agreement(prepared, training, folder)
    found = {_name_of(run): run for run in prepared.runs}
    _check_complete(movie, subject, found, folder)
    position = {clip.clip: k for k, clip in enumerate(movie.clips("test"))}
    tr_s = movie.facts.repetition_time_s
    runs = []
    for name in sorted(found, key=lambda name: (name.mean, name)):
        _, rows = join_run(found[name], position, tr_s)
        runs.append(_test_run(found[name], np.sort(rows)))
    if not any(len(run.windows) for run in runs):
        raise TrainingError(f"{folder}: no window of its test runs answers a clip")
    return runs


def _name_of(run: PreparedRun) -> RunName:
    name = RunName.parse(run.folder.name)
    if name is None or RunName.parse(run.run) != name:
        raise TrainingError(f"{run.folder}: its prepared.toml is of run {run.run!r}")
    return name


def _check_agreement(found: PreparedData, training: PreparedData, folder: Path) -> None:
    for section in BINDING:
        own, expected = getattr(found, section), getattr(training, section)
        for key in sorted(own.keys() | expected.keys()):
            if own.get(key) != expected.get(key):
                raise TrainingError(
                    f"{folder}: {section}.{key} is {own.get(key)!r} in the test runs, expected "
                    f"{expected.get(key)!r} as in the training runs: are they of one subject, "
                    "prepared in one way?"
                )
    both = [one.statistics for one in (found, training)]
    contents = [path.read_bytes() if path else None for path in both]
    if contents[0] != contents[1]:
        raise TrainingError(
            f"{folder}: test runs were normalised by {both[0]}, training runs by {both[1]}, "
            "expected one for all runs"
        )


def _check_complete(
    movie: Movie, subject: str, found: dict[RunName, PreparedRun], folder: Path
) -> None:
    segments = sorted({clip.segment for clip in movie.clips("test")})
    for mean, n_repeat in ((False, movie.facts.repeats["test"]), (True, 1)):
        expected = [
            RunName(subject, "test", segment, repeat + 1, mean)
            for segment in segments
            for repeat in range(n_repeat)
        ]
        missing = [str(run) for run in expected if run not in found]
        if missing and not (mean and len(missing) == len(expected)):
            raise TrainingError(
                f"{folder}: {len(missing)} of {len(expected)} test runs are missing, the first is "
                f"{missing[0]}: run `corticast prepare` on them"
            )


def _test_run(run: PreparedRun, rows: NDArray[np.int64]) -> RunWindows:
    path = run.folder / "data.safetensors"
    index = map_tensors(path).get("index")
    if index is None or index.dtype != np.int64 or index.shape != run.stimulus_time_s.shape:
        found = "missing" if index is None else f"{index.dtype} {list(index.shape)}"
        raise TrainingError(
            f"{path}: tensor 'index' is {found}, expected int64 {list(run.stimulus_time_s.shape)}"
        )
    return RunWindows(
        run=run.run,
        windows=flat(run.windows[rows]),
        stimulus_time_s=run.stimulus_time_s[rows],
        index=np.asarray(index[rows]),
    )


def flat(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Windows `[..., S, V]` as rows `[..., S·V]`."""
    return windows.reshape(*windows.shape[:-2], -1)


def has_mean(runs: Sequence[RunWindows]) -> bool:
    """Whether there are runs of averaged BOLD."""
    return any((name := RunName.parse(run.run)) is not None and name.mean for run in runs)
