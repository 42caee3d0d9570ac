"""`labels key-object`: names and masks of the key objects, in the form that `targets` reads.

The rules need the class of every tag. It comes from the clip's answer, else from `[class_of]`.
Masks are written before names; if the command is interrupted in between, run it again.
"""

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from corticast_training.data.movie import Clip, Movie
from corticast_training.data.tensor_file import TensorWriter, map_tensors
from corticast_training.errors import TrainingError
from corticast_training.labels.answer import classes_of_tags
from corticast_training.labels.clips import named
from corticast_training.labels.config import LabelsConfig, normal
from corticast_training.labels.describe import read_answers
from corticast_training.labels.folder import (
    answers_file,
    choices_file,
    replace_clips,
    segments_file,
    write_whole,
)
from corticast_training.labels.key_object import Choice, Rule, choose
from corticast_training.labels.segments import read_segments
from corticast_training.progress import progress


@dataclass
class Discovered:
    """Counts of a split, for messages."""

    rules: Counter[Rule] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    segmenters: Counter[str] = field(default_factory=Counter)


def discover(movie: Movie, split: str, config: LabelsConfig, *, replace: bool) -> Discovered:
    """Chooses each clip's key object and writes masks, reasons and names.

    Raises `TrainingError` if masks are missing, if a tag has no class, or if the data set came with
    key objects of its own and `replace` is not set.
    """
    if "key_masks" in map_tensors(movie.layout.tensors(split)) and not replace:
        raise TrainingError(
            f"{movie.layout.tensors(split)}: the data set came with key masks of its own, which "
            "are the truth of `synth`; --replace chooses others over them"
        )
    clips, shape = movie.clips(split), movie.frames(split).shape[:4]
    missing = [
        clip.clip
        for clip in clips
        if clip.tags and not segments_file(movie, split, clip.clip).is_file()
    ]
    if missing:
        raise TrainingError(
            f"{len(missing)} of {len(clips)} {split} clips have tags but no masks: "
            f"{named(missing)}; `corticast-train labels segment` makes them"
        )
    if not any(clip.tags for clip in clips):
        raise TrainingError(f"no {split} clip has tags: run `corticast-train labels describe`")
    classes = _classes(movie, split, config)
    done, labelled, lines = Discovered(), [], []
    path = movie.layout.key_masks(split)
    with TensorWriter(path, {"key_masks": shape}, np.uint8) as file:
        for clip in progress(clips, len(clips), f"key objects of {split}"):
            mask = np.zeros(shape[1:], np.uint8)
            choice = Choice(None, Rule.NONE, ())
            if clip.tags:
                segments = read_segments(movie, split, clip)
                done.segmenters[segments.segmenter] += 1
                masks = dict(zip(map(normal, segments.tags), segments.masks, strict=True))
                choice = choose(masks, classes[clip.clip], config.key_object)
                if choice.tag is not None:
                    mask = masks[choice.tag].astype(np.uint8)
            file.append("key_masks", mask)
            key_class = None if choice.tag is None else classes[clip.clip][choice.tag]
            labelled.append(dataclasses.replace(clip, key_object=choice.tag, key_class=key_class))
            lines.append(_line(clip, choice))
            done.rules[choice.rule] += 1
            if key_class is not None:
                done.classes[key_class] += 1
    write_whole(choices_file(movie, split), "".join(lines))
    replace_clips(movie, split, labelled)
    return done


def _classes(movie: Movie, split: str, config: LabelsConfig) -> dict[str, dict[str, str]]:
    """Class of each tag of each clip."""
    answers, _ = read_answers(answers_file(movie, split), config)
    classes = {}
    for clip in movie.clips(split):
        answer = answers.get(clip.clip)
        try:
            classes[clip.clip] = (
                answer.tags
                if answer and tuple(answer.tags) == clip.tags
                else classes_of_tags(clip.tags, config.class_of)
            )
        except TrainingError as error:
            raise TrainingError(f"{split} clip {clip.clip}: {error}") from error
    return classes


def _line(clip: Clip, choice: Choice) -> str:
    moved = {candidate.tag: round(candidate.moved_px, 3) for candidate in choice.candidates}
    line = {"clip": clip.clip, "key_object": choice.tag, "rule": choice.rule, "moved_px": moved}
    return json.dumps(line, ensure_ascii=False) + "\n"
