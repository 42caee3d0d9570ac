"""A movie data set of a dozen clips, its targets, and results whose figures are known."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from corticast_training.config import Config, Sizes
from corticast_training.data.layout import Layout, RunName
from corticast_training.data.movie import Clip, Facts, Movie, read_movie
from corticast_training.data.movie_write import write_clip_lines, write_events, write_facts
from corticast_training.labels.classes import CLASSES
from corticast_training.targets.make import data_sha256, make_targets
from corticast_training.targets.pretrained import load
from corticast_training.targets.store import Targets, read_targets

SIZES: Sizes = replace(Config.load("tiny").sizes, n_frame=3)
N_TRAIN, N_TEST, PX = 8, 12, 64
TR_S = 2.0
THINGS = {"animal": "dog", "vehicle": "car", "human": "man"}
VERBS = ("runs", "waits", "turns", "jumps")


@dataclass(frozen=True)
class Fixture:
    """Where the data set and its targets are, and both as read."""

    data: Path
    targets_dir: Path
    movie: Movie
    targets: Targets


def make(folder: Path) -> Fixture:
    """Writes data set and targets: one train and one test segment, two repeats of the test."""
    data = folder / "movie"
    layout = Layout(data)
    (data / "clips").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, n in (("train", N_TRAIN), ("test", N_TEST)):
        clips = [clip(split, k) for k in range(n)]
        write_clip_lines(layout.clips(split), clips)
        frames, masks = pictures(n, rng)
        save_file({"frames": frames, "key_masks": masks}, layout.tensors(split))
        runs = [RunName("01", split, 1, repeat) for repeat in (1, 2)]
        if split == "test":
            runs.append(RunName("01", split, 1, 1, mean=True))
        for run in runs:
            layout.events(run).parent.mkdir(parents=True, exist_ok=True)
            write_events(layout.events(run), clips, 2.0)
    facts = Facts(
        kind="synth",
        name="a dozen clips",
        repetition_time_s=TR_S,
        hrf_delay_s=4.0,
        clip_s=2.0,
        n_frame=SIZES.n_frame,
        subjects=("01",),
        n_train=N_TRAIN,
        n_test=N_TEST,
        repeats={"train": 2, "test": 2},
    )
    write_facts(layout, facts, {})
    movie = read_movie(data)
    targets_dir = folder / "targets"
    pretrained = load("tiny", SIZES, device="cpu")
    make_targets(movie, data_sha256([layout.facts]), pretrained, SIZES, targets_dir, fit=True)
    return Fixture(data, targets_dir, movie, read_targets(targets_dir, SIZES))


def clip(split: str, k: int) -> Clip:
    """A caption and a class for every clip; no two captions of four words in a row are alike."""
    name, thing = list(THINGS.items())[k % len(THINGS)]
    caption = f"a {thing} {VERBS[k % len(VERBS)]} past corner number{k} of street{k} today{k}"
    return Clip(
        clip=f"{split}-{k:04d}",
        segment=1,
        index=k,
        onset_s=4.0 + TR_S * k,
        caption=caption,
        tags=(thing,),
        classes=(name,),
        key_object=thing,
        key_class=name,
    )


def pictures(n: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Coloured blocks of their own for each clip, and a square that is its key object."""
    blocks = rng.integers(0, 256, (n, 1, 8, 8, 3), dtype=np.uint8)
    frames = blocks.repeat(PX // 8, axis=2).repeat(PX // 8, axis=3).repeat(SIZES.n_frame, axis=1)
    masks = np.zeros(frames.shape[:4], dtype=np.uint8)
    for k in range(n):
        top = 16 * (k % 3)
        masks[k, :, top : top + 16, top : top + 16] = 1
    return np.ascontiguousarray(frames), masks


def write_perfect(fixture: Fixture, folder: Path, *, shift: int = 0, **spoil: Any) -> Path:
    """Results of both repeats and of their mean that are the truth of clip k + `shift`.

    `spoil` replaces tensors by name; None leaves one out.
    """
    test, clips = fixture.targets.test, fixture.movie.clips("test")
    folder.mkdir(parents=True)
    lines = []
    for run in (
        RunName("01", "test", 1, 1),
        RunName("01", "test", 1, 2),
        RunName("01", "test", 1, 1, mean=True),
    ):
        for k, shown in enumerate(clips):
            told = (k + shift) % len(clips)
            probabilities = np.where(test.labels[told] > 0, 0.9, 0.1).astype(np.float32)
            tokens = np.asarray(test.image_tokens[told, 2], dtype=np.float32)
            tensors: dict[str, Any] = {
                "brain_tokens": tokens,
                "tokens": tokens,
                "text_embed": np.asarray(test.text_embed[told]),
                "probabilities": probabilities,
                "mask": np.asarray(test.masks[told]),
                "latents": np.asarray(test.latents[told], dtype=np.float32),
                "caption_ids": np.asarray(test.caption_ids[told]),
            } | spoil
            index = k + 5
            path = folder / "conditions" / str(run) / f"{index:06d}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            facts = {"run": str(run), "index": str(index), "stimulus_time_s": str(shown.onset_s)}
            kept = {key: value for key, value in tensors.items() if value is not None}
            save_file(kept, path, metadata=facts)
            line = {
                "run": str(run),
                "index": index,
                "stimulus_time_s": shown.onset_s + 0.3,
                "concepts": dict(zip(CLASSES, map(float, probabilities), strict=True)),
                "caption": clips[told].caption,
            }
            lines.append(json.dumps(line))
    (folder / "results.jsonl").write_text("\n".join(lines) + "\n")
    return folder
