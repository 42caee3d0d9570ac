"""cc2017 → the movie data set's form: frames, runs under BIDS names, events, means of the test.

Volumes are linked, not copied, where the file system allows it: a subject has 100 GB of them
when unpacked. Captions and classes are not part of the public data; `labels` makes them.
"""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.data import cc2017
from corticast_training.data.cc2017 import Source
from corticast_training.data.layout import SPLITS, Layout, RunName
from corticast_training.data.movie import Clip, Facts
from corticast_training.data.movie_write import (
    write_clip_lines,
    write_events,
    write_facts,
    write_sidecar,
)
from corticast_training.data.new_folder import new_dataset
from corticast_training.data.nifti import open_image, read_volumes, write_bold, write_map
from corticast_training.data.tensor_file import TensorWriter
from corticast_training.data.video import clip_frames, duration_s
from corticast_training.errors import TrainingError
from corticast_training.progress import progress

BRAIN_FRACTION = 0.2
"""Brain: mean above this part of the 98th percentile, and not constant."""
PREPARE = f"""\
# How `corticast prepare` and `replay` read this data set: name the subject's mask with
#   --set signal.mask=sub-01/mask.nii.gz
[signal]
hrf_delay_s = {cc2017.HRF_DELAY_S}
shift = "nearest"
window_volumes = 1
missing = "restart"

[normalise]
mode = "growing"
# The movie runs from the first volume on: the warm-up costs each segment its first clips.
warm_up_volumes = 6
"""


@dataclass(frozen=True)
class Part:
    """How much of the data set is taken."""

    subjects: tuple[int, ...]
    segments: dict[str, tuple[int, ...]]
    repeats: dict[str, int]
    segment_s: float
    px: int

    @property
    def n_clip(self) -> int:
        """Clips of a segment."""
        return round(self.segment_s / cc2017.CLIP_S)


def convert(source: Source, out: Path, part: Part, *, force: bool = False) -> list[str]:
    """Checks every file, then writes the data set. Returns what the user should know."""
    _check(source, part)
    with new_dataset(out, force=force) as layout:
        return _write(source, layout, part)


def _write(source: Source, layout: Layout, part: Part) -> list[str]:
    notes: list[str] = []
    (layout.folder / "clips").mkdir()
    clips = {split: _write_movies(source, layout, part, split) for split in SPLITS}
    for subject in part.subjects:
        notes += _write_subject(source, layout, part, subject, clips)
    (layout.folder / "prepare.toml").write_text(PREPARE, encoding="utf-8")
    facts = Facts(
        kind="cc2017",
        name="cc2017",
        repetition_time_s=cc2017.REPETITION_TIME_S,
        hrf_delay_s=cc2017.HRF_DELAY_S,
        clip_s=cc2017.CLIP_S,
        n_frame=cc2017.N_FRAME,
        subjects=tuple(f"{subject:02d}" for subject in part.subjects),
        n_train=len(clips["train"]),
        n_test=len(clips["test"]),
        repeats=part.repeats,
    )
    write_facts(layout, facts, {"doi": "10.4231/R7SF2TCW"})
    return notes


def _runs(part: Part, subject: int) -> list[RunName]:
    return [
        RunName(f"{subject:02d}", split, segment, repeat + 1)
        for split in SPLITS
        for segment in part.segments[split]
        for repeat in range(part.repeats[split])
    ]


def _file(source: Source, run: RunName) -> Path:
    return source.bold(int(run.subject), run.split, run.segment, run.repeat)


def _check(source: Source, part: Part) -> None:
    movies = [source.movie(split, number) for split in SPLITS for number in part.segments[split]]
    runs = [run for subject in part.subjects for run in _runs(part, subject)]
    cc2017.require([*movies, *(_file(source, run) for run in runs)])
    for movie in movies:
        found = duration_s(movie)
        if abs(found - part.segment_s) >= cc2017.CLIP_S / 2:
            raise TrainingError(f"{movie}: lasts {found:.2f} s, expected {part.segment_s:.2f} s")
    matrix: dict[str, tuple[int, ...]] = {}
    for run in progress(runs, len(runs), "checking runs"):
        start = cc2017.start_volumes(run.split, run.segment)
        matrix[run.subject] = cc2017.check_run(
            _file(source, run), matrix.get(run.subject), part.n_clip, start
        )


def _write_movies(source: Source, layout: Layout, part: Part, split: str) -> list[Clip]:
    segments = part.segments[split]
    n = len(segments) * part.n_clip
    clips: list[Clip] = []
    shapes = {"frames": (n, cc2017.N_FRAME, part.px, part.px, 3)}
    decoded = (
        (segment, index, frames)
        for segment in segments
        for index, frames in enumerate(
            clip_frames(
                source.movie(split, segment), part.n_clip, cc2017.CLIP_S, cc2017.N_FRAME, part.px
            )
        )
    )
    with TensorWriter(layout.tensors(split), shapes, np.uint8) as file:
        for segment, index, frames in progress(decoded, n, f"{split} clips"):
            file.append("frames", frames)
            clips.append(
                Clip(
                    clip=f"{split}-{len(clips) + 1:04d}",
                    segment=segment,
                    index=index,
                    onset_s=cc2017.onset_s(split, segment, index),
                    caption=None,
                    tags=(),
                    classes=(),
                    key_object=None,
                    key_class=None,
                )
            )
    write_clip_lines(layout.clips(split), clips)
    return clips


def _write_subject(
    source: Source, layout: Layout, part: Part, subject: int, clips: dict[str, list[Clip]]
) -> list[str]:
    runs, notes = _runs(part, subject), []
    (layout.subject(runs[0].subject) / "func").mkdir(parents=True)
    inside = _write_brain(source, layout, runs[0])
    for run in progress(runs, len(runs), f"runs of subject {subject}"):
        _link(_file(source, run), layout.bold(run))
        shown = [clip for clip in clips[run.split] if clip.segment == run.segment]
        write_events(layout.events(run), shown, cc2017.CLIP_S)
        write_sidecar(layout, run, cc2017.REPETITION_TIME_S)
    means = [
        (segment, RunName(runs[0].subject, "test", segment, 1, mean=True))
        for segment in part.segments["test"]
    ]
    for segment, mean in progress(means, len(means), f"means of subject {subject}"):
        shown = [clip for clip in clips["test"] if clip.segment == segment]
        notes += _write_mean(source, layout, part, mean, shown, inside)
    return notes


def _write_brain(source: Source, layout: Layout, run: RunName) -> NDArray[np.bool_]:
    """There is no brain mask in the public data: bright voxels of the first run that vary."""
    path = _file(source, run)
    volumes = read_volumes(path)
    mean, sd = volumes.mean(axis=-1), volumes.std(axis=-1)
    known = np.isfinite(mean) & np.isfinite(sd) & (sd > 0)
    if not known.any():
        raise TrainingError(f"{path}: no voxel varies")
    inside = known & (mean > BRAIN_FRACTION * np.percentile(mean[known], 98))
    affine = np.asarray(open_image(path).affine, np.float64)
    write_map(layout.brain_mask(run.subject), inside.astype(np.uint8), affine)
    return np.asarray(inside, np.bool_)


def _write_mean(
    source: Source,
    layout: Layout,
    part: Part,
    mean: RunName,
    shown: list[Clip],
    inside: NDArray[np.bool_],
) -> list[str]:
    """Writes the mean of a test segment's repeats, without a session that began late."""
    repeats = range(1, part.repeats["test"] + 1)
    late = next(
        (k for k in repeats if (int(mean.subject), "test", mean.segment, k) == cc2017.LATE), None
    )
    used = [repeat for repeat in repeats if repeat != late]
    if not used:
        raise TrainingError(f"{mean}: no repeat is left for the mean, take more than 1")
    total: NDArray[np.float32] | None = None
    for repeat in used:
        volumes = read_volumes(_file(source, replace(mean, mean=False, repeat=repeat)))
        total = volumes if total is None else np.add(total, volumes, out=total)
    assert total is not None
    total /= np.float32(len(used))
    total[~np.isfinite(total)] = 0
    affine = np.asarray(
        open_image(_file(source, replace(mean, mean=False, repeat=used[0]))).affine, np.float64
    )
    write_bold(layout.bold(mean), np.moveaxis(total, -1, 0), affine, cc2017.REPETITION_TIME_S)
    write_events(layout.events(mean), shown, cc2017.CLIP_S)
    write_sidecar(layout, mean, cc2017.REPETITION_TIME_S)
    if late is None:
        return []
    return [
        _place_late(
            source, layout, replace(mean, mean=False, repeat=late), shown, total[inside], inside
        )
    ]


def _place_late(
    source: Source,
    layout: Layout,
    run: RunName,
    shown: list[Clip],
    mean: NDArray[np.float32],
    inside: NDArray[np.bool_],
) -> str:
    """Moves the events of the late session to where it fits the other repeats."""
    volumes = read_volumes(_file(source, run))[inside]
    shift, r, r_without = cc2017.late_volumes(np.nan_to_num(volumes), np.nan_to_num(mean))
    late_s = shift * cc2017.REPETITION_TIME_S
    moved = [replace(clip, onset_s=clip.onset_s - late_s) for clip in shown]
    write_events(layout.events(run), moved, cc2017.CLIP_S)
    return (
        f"{run}: known to be recorded late; it fits the other repeats best {late_s:+.0f} s later "
        f"(mean r {r:.3f}, without a shift {r_without:.3f}), its events say so, and the mean of "
        "the repeats leaves it out"
    )


def _link(source: Path, target: Path) -> None:
    """Hard link, else symbolic link, else a copy."""
    source = source.resolve()
    for make in (os.link, os.symlink, shutil.copyfile):
        try:
            make(source, target)
        except OSError:
            if make is shutil.copyfile:
                raise
        else:
            return
