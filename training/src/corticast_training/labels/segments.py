"""`labels segment`: masks of every tag of a clip, one file per clip.

A file has 1 bit per pixel, names its tags and its segmenter, and is complete when it appears. An
interrupted run continues with the clips that have no file, or a file with other tags.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from corticast_training.data.movie import Clip, Movie
from corticast_training.errors import TrainingError
from corticast_training.labels.clips import each_clip, named
from corticast_training.labels.folder import segments_file
from corticast_training.labels.segmenters import Segmenter


@dataclass(frozen=True)
class Segments:
    """Masks of one clip."""

    tags: tuple[str, ...]
    segmenter: str
    masks: NDArray[np.bool_]
    """`[n_tag, F, h, w]`"""


@dataclass
class Segmented:
    """Counts of a split, for messages."""

    asked: int = 0
    there: int = 0
    untagged: list[str] = field(default_factory=list)
    """Clips that have no tags."""
    empty: list[str] = field(default_factory=list)
    """Clips in which no frame has a mask."""
    failed: dict[str, str] = field(default_factory=dict)


def segment(
    movie: Movie, split: str, segmenter: Segmenter, *, replace: bool, parallel: int
) -> Segmented:
    """Segments the clips that have no masks yet.

    `replace` makes masks of another segmenter again; without it, such masks raise `TrainingError`.
    So do a data set without tags, and an endpoint that is down.
    """
    clips, frames = movie.clips(split), movie.frames(split)
    done = Segmented(untagged=[clip.clip for clip in clips if not clip.tags])
    if len(done.untagged) == len(clips):
        raise TrainingError(
            f"no {split} clip has tags, expected them: `corticast-train labels describe` asks"
        )
    wanted, other = [], []
    for number, clip in enumerate(clips):
        if not clip.tags:
            continue
        path = segments_file(movie, split, clip.clip)
        there = read_header(path) if path.is_file() else None
        if there is None or there[0] != clip.tags:
            wanted.append(number)
        elif there[1] != segmenter.name:
            other.append(number)
    if other and not replace:
        first = clips[other[0]].clip
        known = read_header(segments_file(movie, split, first))
        raise TrainingError(
            f"{len(other)} {split} clips, {first} for one, have masks of another segmenter: "
            f"{known[1]!r} instead of {segmenter.name!r}; --replace makes them anew"
        )
    wanted = sorted(wanted + other)
    done.asked, done.there = len(wanted), len(clips) - len(done.untagged) - len(wanted)
    segments_file(movie, split, "").parent.mkdir(parents=True, exist_ok=True)

    def keep(number: int, masks: NDArray[np.bool_]) -> None:
        clip = clips[number]
        if not masks.any():
            done.empty.append(clip.clip)
        found = Segments(clip.tags, segmenter.name, masks)
        write_segments(segments_file(movie, split, clip.clip), found)

    failed = each_clip(
        wanted,
        len(wanted),
        lambda number: segmenter.masks(frames[number], clips[number].tags),
        keep,
        what=f"masks of {split}",
        parallel=parallel,
    )
    done.failed = {clips[number].clip: reason for number, reason in sorted(failed.items())}
    return done


def write_segments(path: Path, segments: Segments) -> None:
    """Writes aside, then renames."""
    aside = path.with_name(f".{path.name}.part")
    metadata = {
        "tags": json.dumps(segments.tags),
        "segmenter": segments.segmenter,
        "width": str(segments.masks.shape[-1]),
    }
    try:
        save_file({"bits": np.packbits(segments.masks, axis=-1)}, aside, metadata=metadata)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_header(path: Path) -> tuple[tuple[str, ...], str, int]:
    """Tags, segmenter and width in pixels, without the masks."""
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            tags = tuple(json.loads(metadata["tags"]))
            return tags, metadata["segmenter"], int(metadata["width"])
    except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        raise TrainingError(f"{path}: not masks that `labels segment` wrote: {error}") from error


def read_segments(movie: Movie, split: str, clip: Clip) -> Segments:
    """Masks of a clip's tags. Raises `TrainingError` if they are missing or for other tags."""
    path, shape = segments_file(movie, split, clip.clip), movie.frames(split).shape[1:4]
    if not path.is_file():
        raise TrainingError(f"{path}: missing, `corticast-train labels segment` makes it")
    tags, segmenter, width = read_header(path)
    if tags != clip.tags:
        raise TrainingError(
            f"{path}: masks of {named(tags)}, but the clip's tags are {named(clip.tags)}: "
            "run `corticast-train labels segment` again"
        )
    with safe_open(path, "np") as file:
        bits = file.get_tensor("bits")
    masks = np.unpackbits(bits, axis=-1, count=width).astype(np.bool_)
    if masks.shape != (len(tags), *shape):
        raise TrainingError(
            f"{path}: masks are {list(masks.shape)}, expected {[len(tags), *shape]} as the frames"
        )
    return Segments(tags, segmenter, masks)
