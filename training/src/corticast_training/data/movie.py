"""Movie data sets: clips that were shown, and the windows of BOLD that answer them.

`synth` and `cc2017` write a data set (see `layout`), `corticast prepare` makes windows of its
runs, and here they meet: the window whose stimulus time is nearest to a clip's onset in
the events of the same run, within half a TR, belongs to that clip.
"""

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corticast_training.data.events import read_events
from corticast_training.data.layout import SPLITS, Layout, RunName
from corticast_training.data.prepared import PreparedData, PreparedRun, read_prepared
from corticast_training.data.tensor_file import map_tensors
from corticast_training.data.typed import Fields
from corticast_training.errors import TrainingError

FORMAT = 1


@dataclass(frozen=True)
class Facts:
    """`dataset.toml`."""

    kind: str
    """`synth` or `cc2017`."""
    name: str
    repetition_time_s: float
    hrf_delay_s: float
    clip_s: float
    n_frame: int
    subjects: tuple[str, ...]
    n_train: int
    n_test: int
    repeats: dict[str, int]
    """How often each split was seen."""

    def n_clip(self, split: str) -> int:
        """Clips of a split."""
        return self.n_train if split == "train" else self.n_test


@dataclass(frozen=True)
class Clip:
    """What is known of one clip."""

    clip: str
    """Its name, as in the events."""
    segment: int
    """Counted from 1."""
    index: int
    """Within its segment, from 0."""
    onset_s: float
    """Since the first volume of its run."""
    caption: str | None
    tags: tuple[str, ...]
    classes: tuple[str, ...]
    key_object: str | None
    key_class: str | None


@dataclass(frozen=True)
class Movie:
    """A movie data set on disk. Frames are mapped, not loaded."""

    folder: Path
    facts: Facts
    _clips: dict[str, list[Clip]] = field(repr=False)

    @property
    def layout(self) -> Layout:
        """Where its files are."""
        return Layout(self.folder)

    def clips(self, split: str) -> list[Clip]:
        """The clips of `train` or `test`, in order."""
        return self._clips[_split(split)]

    def frames(self, split: str) -> NDArray[np.uint8]:
        """RGB, `[n_clip, F, h, w, 3]`, memory-mapped."""
        found = self._tensors(split).get("frames")
        path, facts = self.layout.tensors(split), self.facts
        expected = (facts.n_clip(split), facts.n_frame)
        if found is None:
            raise TrainingError(f"{path}: tensor 'frames' is missing")
        if found.dtype != np.uint8 or found.ndim != 5 or found.shape[:2] != expected:
            raise TrainingError(
                f"{path}: frames are {found.dtype} {list(found.shape)}, expected uint8 "
                f"[{expected[0]}, {expected[1]}, h, w, 3]"
            )
        if found.shape[4] != 3:
            raise TrainingError(f"{path}: frames have {found.shape[4]} channels, expected 3")
        return found

    def key_masks(self, split: str) -> NDArray[np.uint8] | None:
        """The key object's pixels are 1, `[n_clip, F, h, w]`; None if there are no masks."""
        path = self.layout.key_masks(_split(split))
        if not path.exists():
            path = self.layout.tensors(split)
        found = map_tensors(path).get("key_masks")
        if found is None:
            return None
        expected = self.frames(split).shape[:4]
        if found.dtype != np.uint8 or found.shape != expected:
            raise TrainingError(
                f"{path}: key_masks are {found.dtype} {list(found.shape)}, "
                f"expected uint8 {list(expected)}"
            )
        return found

    def _tensors(self, split: str) -> dict[str, NDArray[Any]]:
        return map_tensors(self.layout.tensors(_split(split)))


@dataclass(frozen=True)
class Bold:
    """Windows of one subject and split, each with its clip."""

    windows: NDArray[np.float32]
    """`[n_repeat, n, S, V]`; n clips that have a window in every repeat."""
    clip_index: NDArray[np.int64]
    """`[n]`: position of each clip in `Movie.clips(split)`, increasing."""
    dropped: tuple[str, ...]
    """Names of the clips that lack a window in some repeat."""
    prepared: PreparedData


def read_movie(data_dir: Path) -> Movie:
    """Reads facts and clips. Raises `TrainingError` when they are missing or disagree."""
    layout = Layout(Path(data_dir))
    facts = _read_facts(layout)
    clips = {split: _read_clips(layout.clips(split), facts.n_clip(split)) for split in SPLITS}
    return Movie(layout.folder, facts, clips)


def read_bold(
    movie: Movie,
    subject: str,
    prepared_dir: Path,
    split: str,
    *,
    mean: bool = False,
    repeats: int | None = None,
) -> Bold:
    """Joins prepared windows to clips.

    `mean` takes the runs that are the mean over the repeats; `repeats` takes only the first
    ones of each segment (default: all that the data set has). Raises `TrainingError` when a run
    is missing, when runs disagree, or when no clip is left.
    """
    split, facts = _split(split), movie.facts
    if subject not in facts.subjects:
        raise TrainingError(
            f"{movie.folder}: no subject {subject!r}, it has {', '.join(facts.subjects)}"
        )
    if repeats is not None and not 1 <= repeats <= facts.repeats[split]:
        raise TrainingError(f"repeats is {repeats}, expected 1 to {facts.repeats[split]}")
    n_repeat = 1 if mean else repeats or facts.repeats[split]
    names = [
        [RunName(subject, split, segment, repeat + 1, mean) for repeat in range(n_repeat)]
        for segment in sorted({clip.segment for clip in movie.clips(split)})
    ]
    wanted = {str(name) for segment in names for name in segment}
    prepared = read_prepared(Path(prepared_dir), lambda run: str(RunName.parse(run)) in wanted)
    _check_settings(prepared, facts, Path(prepared_dir))
    runs = {str(RunName.parse(run.run)): run for run in prepared.runs}
    if missing := sorted(wanted - runs.keys()):
        raise TrainingError(
            f"{prepared_dir}: {len(missing)} of {len(wanted)} runs of {split} are missing, the "
            f"first is {missing[0]}: expected {n_repeat} repeats of each segment, "
            "run `corticast prepare` on them"
        )

    position = {clip.clip: number for number, clip in enumerate(movie.clips(split))}
    found = np.full((n_repeat, len(position)), -1, dtype=np.int64)
    for segment in names:
        for repeat, name in enumerate(segment):
            run = runs[str(name)]
            clip, window = join_run(run, position, facts.repetition_time_s)
            found[repeat, clip] = window
    seen = (found >= 0).all(axis=0)
    if not seen.any():
        raise TrainingError(
            f"{prepared_dir}: no clip of {split} has a window in each of {n_repeat} repeats"
        )
    clip_index = np.flatnonzero(seen)
    windows = np.empty((n_repeat, len(clip_index), *prepared.window_shape), np.float32)
    clips = movie.clips(split)
    segments = np.array([clips[number].segment for number in clip_index])
    for segment in names:
        for repeat, name in enumerate(segment):
            here = np.flatnonzero(segments == name.segment)
            windows[repeat, here] = runs[str(name)].windows[found[repeat, clip_index[here]]]
    return Bold(
        windows=windows,
        clip_index=clip_index.astype(np.int64),
        dropped=tuple(clips[number].clip for number in np.flatnonzero(~seen)),
        prepared=prepared,
    )


def join_run(
    run: PreparedRun, position: dict[str, int], repetition_time_s: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs the windows of one run with the clips of its events.

    Returns clip positions `[n]` and window positions `[n]`, in the order of the events. A clip
    without a window within half a TR of its onset is left out; a window serves one clip, the
    nearest.
    """
    names, onsets = read_events(run.folder / "events.tsv")
    unknown = [name for name in names if name not in position]
    if unknown:
        raise TrainingError(
            f"{run.folder / 'events.tsv'}: clip {unknown[0]!r} is not among the data set's"
        )
    if len(set(names)) != len(names):
        raise TrainingError(f"{run.folder / 'events.tsv'}: a clip is listed twice")
    times = run.stimulus_time_s
    if not len(times) or not names:
        empty = np.empty(0, np.int64)
        return empty, empty
    distance = np.abs(onsets[:, None] - times[None, :])
    window = distance.argmin(axis=1)
    near = distance[np.arange(len(names)), window] < repetition_time_s / 2
    mutual = distance.argmin(axis=0)[window] == np.arange(len(names))
    kept = np.flatnonzero(near & mutual)
    clip = np.array([position[names[number]] for number in kept], dtype=np.int64)
    return clip, window[kept].astype(np.int64)


def _split(split: str) -> str:
    if split not in SPLITS:
        raise TrainingError(f"split is {split!r}, expected train or test")
    return split


def _check_settings(prepared: PreparedData, facts: Facts, folder: Path) -> None:
    for key in ("repetition_time_s", "hrf_delay_s"):
        found, expected = prepared.signal[key], getattr(facts, key)
        if abs(float(found) - expected) > 1e-3:
            raise TrainingError(
                f"{folder}: prepared with {key} = {found}, the data set says {expected}"
            )


def _read_facts(layout: Layout) -> Facts:
    path = layout.facts
    if not path.is_file():
        raise TrainingError(
            f"{path}: missing, expected a data set that `synth` or `cc2017` wrote as a whole"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: not TOML: {error}") from error
    fields = Fields(table, str(path))
    if (found := fields.integer("format")) != FORMAT:
        raise TrainingError(f"{path}: format is {found}, expected {FORMAT}")
    repeats = Fields(fields.table("repeats"), f"{path}: repeats")
    return Facts(
        kind=fields.text("kind"),
        name=fields.text("name"),
        repetition_time_s=fields.positive("repetition_time_s"),
        hrf_delay_s=fields.number("hrf_delay_s"),
        clip_s=fields.positive("clip_s"),
        n_frame=fields.count("n_frame"),
        subjects=fields.texts("subjects"),
        n_train=fields.count("n_train"),
        n_test=fields.count("n_test"),
        repeats={split: repeats.count(split) for split in SPLITS},
    )


def _read_clips(path: Path, expected: int) -> list[Clip]:
    if not path.is_file():
        raise TrainingError(f"{path}: missing")
    clips: list[Clip] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{path}, line {number}"
        try:
            table = json.loads(line)
        except json.JSONDecodeError as error:
            raise TrainingError(f"{where}: not JSON: {error}") from error
        fields = Fields(table, where)
        clips.append(
            Clip(
                clip=fields.text("clip"),
                segment=fields.integer("segment"),
                index=fields.integer("index"),
                onset_s=fields.number("onset_s"),
                caption=fields.optional_text("caption"),
                tags=fields.texts("tags"),
                classes=fields.texts("classes"),
                key_object=fields.optional_text("key_object"),
                key_class=fields.optional_text("key_class"),
            )
        )
    if len(clips) != expected:
        raise TrainingError(f"{path}: {len(clips)} clips, dataset.toml says {expected}")
    if len({clip.clip for clip in clips}) != len(clips):
        raise TrainingError(f"{path}: a clip's name occurs twice")
    return clips
