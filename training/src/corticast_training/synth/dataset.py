"""A whole synthetic data set: clips, subjects, runs, truth, and how to prepare it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from corticast_training.data.layout import Layout, RunName
from corticast_training.data.movie import Clip, Facts
from corticast_training.data.movie_write import (
    write_clip_lines,
    write_events,
    write_facts,
    write_sidecar,
)
from corticast_training.data.new_folder import new_dataset
from corticast_training.data.nifti import write_bold, write_map
from corticast_training.data.tensor_file import TensorWriter
from corticast_training.errors import TrainingError
from corticast_training.progress import progress
from corticast_training.synth.bold import clean_run, measured_run, volumes
from corticast_training.synth.brain import AREAS, Brain, make_brain, responses
from corticast_training.synth.clips import Drawn, draw_clips
from corticast_training.synth.features import Seen, see
from corticast_training.synth.hrf import lag_weights
from corticast_training.synth.shapes import Array

REPETITION_TIME_S = 2.0
CLIP_S = 2.0
HRF_DELAY_S = 4.0
N_FRAME = 6
PX = 64
REST_VOLUMES = 8
TAIL_VOLUMES = 3
REPEATS = {"train": 2, "test": 10}
SPLIT_SEED = {"train": 0, "test": 1}

PREPARE = f"""\
# How `corticast prepare` and `replay` read this data set: name the subject's mask with
#   --set signal.mask=sub-01/mask.nii.gz
[signal]
hrf_delay_s = {HRF_DELAY_S}
shift = "nearest"
window_volumes = 1
missing = "restart"

[normalise]
mode = "growing"
# Every run starts with {REST_VOLUMES} volumes of blank screen: no clip is lost.
warm_up_volumes = {REST_VOLUMES}
"""


@dataclass(frozen=True)
class Plan:
    """How large a data set is."""

    preset: str
    subjects: int
    train_clips: int
    train_segments: int
    test_clips: int
    test_segments: int
    matrix: tuple[int, int, int]
    noise: float
    """S.d. of the noise over that of the signal, median over voxels."""
    seed: int = 0

    def n_clip(self, split: str) -> int:
        """Clips of a split."""
        return self.train_clips if split == "train" else self.test_clips

    def n_segment(self, split: str) -> int:
        """Segments of a split."""
        return self.train_segments if split == "train" else self.test_segments

    def check(self) -> None:
        """Raises `TrainingError` for an impossible plan."""
        for name in ("subjects", "train_clips", "train_segments", "test_clips", "test_segments"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}, expected 1 or more")
        for split in SPLIT_SEED:
            if self.n_clip(split) < self.n_segment(split):
                raise TrainingError(
                    f"{self.n_clip(split)} {split} clips in {self.n_segment(split)} segments, "
                    "expected at least one clip a segment"
                )
        if self.subjects > 99 or max(self.train_segments, self.test_segments) > 99:
            raise TrainingError("more than 99 subjects or segments, names have two digits")
        if not 0 <= self.noise < 1000:
            raise TrainingError(f"noise is {self.noise}, expected 0 or more")
        if self.seed < 0:
            raise TrainingError(f"seed is {self.seed}, expected 0 or more")


PRESETS = {
    "tiny": Plan("tiny", 2, 240, 12, 50, 1, (16, 16, 10), 0.7),
    "small": Plan("small", 2, 900, 18, 120, 2, (20, 20, 14), 1.0),
}


def write_dataset(out: Path, plan: Plan, *, force: bool = False) -> None:
    """Writes the data set as folder `out`, as a whole or not at all."""
    plan.check()
    with new_dataset(out, force=force) as layout:
        _write(layout, plan)


def _write(layout: Layout, plan: Plan) -> None:
    (layout.folder / "clips").mkdir(parents=True)
    (layout.folder / "truth").mkdir()
    seen: list[Seen] = []
    clips: dict[str, list[Clip]] = {}
    for split in SPLIT_SEED:
        clips[split] = _write_clips(layout, plan, split, seen)
    subjects = tuple(f"{number + 1:02d}" for number in range(plan.subjects))
    runs = [run for subject in subjects for run in _runs(plan, subject)]
    brains: dict[str, tuple[Brain, Array]] = {}
    for run in progress(runs, len(runs), "runs"):
        if run.subject not in brains:
            brains = {run.subject: _make_subject(layout, plan, run.subject, seen)}
        brain, answers = brains[run.subject]
        _write_run(layout, plan, run, brain, answers, clips[run.split])
    (layout.folder / "prepare.toml").write_text(PREPARE, encoding="utf-8")
    facts = Facts(
        kind="synth",
        name=f"synth {plan.preset}, seed {plan.seed}",
        repetition_time_s=REPETITION_TIME_S,
        hrf_delay_s=HRF_DELAY_S,
        clip_s=CLIP_S,
        n_frame=N_FRAME,
        subjects=subjects,
        n_train=plan.train_clips,
        n_test=plan.test_clips,
        repeats=REPEATS,
    )
    write_facts(layout, facts, {"preset": plan.preset, "seed": plan.seed, "noise": plan.noise})


def _write_clips(layout: Layout, plan: Plan, split: str, seen: list[Seen]) -> list[Clip]:
    n_clip = plan.n_clip(split)
    bounds = np.linspace(0, n_clip, plan.n_segment(split) + 1).round().astype(int)
    shapes = {"frames": (n_clip, N_FRAME, PX, PX, 3), "key_masks": (n_clip, N_FRAME, PX, PX)}
    drawn = draw_clips(plan.seed, SPLIT_SEED[split], n_clip, N_FRAME, PX)
    clips = []
    with TensorWriter(layout.tensors(split), shapes, np.uint8) as file:
        for number, clip in enumerate(progress(drawn, n_clip, f"{split} clips")):
            file.append("frames", clip.frames)
            file.append("key_masks", clip.key_mask)
            seen.append(see(clip))
            segment = int(np.searchsorted(bounds, number, side="right"))
            clips.append(_line(clip, split, number, segment, number - int(bounds[segment - 1])))
    write_clip_lines(layout.clips(split), clips)
    return clips


def _line(clip: Drawn, split: str, number: int, segment: int, index: int) -> Clip:
    return Clip(
        clip=f"{split}-{number + 1:04d}",
        segment=segment,
        index=index,
        onset_s=REST_VOLUMES * REPETITION_TIME_S + index * CLIP_S,
        caption=clip.caption,
        tags=tuple(clip.tags),
        classes=tuple(clip.classes),
        key_object=clip.kind.name if clip.kind else None,
        key_class=clip.kind.classes[0] if clip.kind else None,
    )


def _runs(plan: Plan, subject: str) -> Iterator[RunName]:
    for split, n_repeat in REPEATS.items():
        for segment in range(1, plan.n_segment(split) + 1):
            if split == "test":
                # Written with the last repeat, when the volumes of all repeats are available.
                yield RunName(subject, split, segment, n_repeat, mean=True)
            else:
                for repeat in range(1, n_repeat + 1):
                    yield RunName(subject, split, segment, repeat)


def _make_subject(
    layout: Layout, plan: Plan, subject: str, seen: list[Seen]
) -> tuple[Brain, Array]:
    brain = make_brain(plan.matrix, plan.noise, (plan.seed, 2, int(subject)))
    answers = responses(brain, seen, plan.train_clips)
    (layout.subject(subject) / "func").mkdir(parents=True)
    write_map(layout.brain_mask(subject), brain.mask, brain.affine)
    area = np.zeros(brain.mask.shape, np.int64)
    area[brain.mask > 0] = brain.area
    truth: dict[str, NDArray[Any]] = {
        "area": area,
        "receptive_field": brain.field,
        "hrf_peak_s": brain.hrf_peak_s,
        "hrf_lags": lag_weights(brain.hrf_peak_s, CLIP_S, REPETITION_TIME_S),
        "noise": brain.noise,
        "baseline": brain.baseline,
        "response_train": answers[: plan.train_clips],
        "response_test": answers[plan.train_clips :],
    }
    # In C order: safetensors writes other arrays in their memory order, without an error.
    truth = {name: np.ascontiguousarray(value) for name, value in truth.items()}
    save_file(truth, layout.truth(subject), metadata={"areas": ",".join(AREAS)})
    return brain, answers


def _write_run(
    layout: Layout, plan: Plan, run: RunName, brain: Brain, answers: Array, clips: list[Clip]
) -> None:
    shown = [number for number, clip in enumerate(clips) if clip.segment == run.segment]
    first = 0 if run.split == "train" else plan.train_clips
    signal = clean_run(
        brain,
        answers[first + shown[0] : first + shown[-1] + 1],
        REST_VOLUMES,
        TAIL_VOLUMES,
        REPETITION_TIME_S,
        CLIP_S,
    )
    events = [clips[number] for number in shown]
    if not run.mean:
        _scan(layout, plan, run, brain, signal, events)
        return
    total: Array | None = None
    for repeat in range(1, run.repeat + 1):
        one = RunName(run.subject, run.split, run.segment, repeat)
        scanned = _scan(layout, plan, one, brain, signal, events)
        total = scanned if total is None else total + scanned
    assert total is not None
    _save_run(
        layout,
        RunName(run.subject, run.split, run.segment, 1, mean=True),
        total / np.float32(run.repeat),
        brain,
        events,
    )


def _scan(
    layout: Layout, plan: Plan, run: RunName, brain: Brain, signal: Array, events: list[Clip]
) -> Array:
    """Measures a run once, writes it, and returns its volumes `[n_volume, X, Y, Z]`."""
    place = (SPLIT_SEED[run.split], run.segment, run.repeat)
    rng = np.random.default_rng([plan.seed, 3, int(run.subject), *place])
    scanned = volumes(brain, measured_run(brain, signal, rng), rng)
    _save_run(layout, run, scanned, brain, events)
    return scanned


def _save_run(
    layout: Layout, run: RunName, scanned: Array, brain: Brain, events: list[Clip]
) -> None:
    write_bold(layout.bold(run), scanned, brain.affine, REPETITION_TIME_S)
    write_events(layout.events(run), events, CLIP_S)
    write_sidecar(layout, run, REPETITION_TIME_S)
