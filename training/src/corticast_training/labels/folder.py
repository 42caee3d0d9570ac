"""The files of labels while they are being made, beside the clips that they belong to.

```text
DATA/labels/train.describe.jsonl        one answer per line, in order of arrival
DATA/labels/train.segments/train-0001.safetensors   masks of each tag of a clip
DATA/labels/train.key_objects.jsonl     how far each category moved, and which rule chose
```

`describe` and `key-object` copy their results into `DATA/clips/`, where `targets` reads them.
"""

from collections.abc import Iterable
from pathlib import Path

from corticast_training.data.movie import Clip, Movie
from corticast_training.data.movie_write import write_clip_lines


def answers_file(movie: Movie, split: str) -> Path:
    """Captions and tags of a split."""
    return movie.folder / "labels" / f"{split}.describe.jsonl"


def segments_file(movie: Movie, split: str, clip: str) -> Path:
    """Masks of a clip."""
    return movie.folder / "labels" / f"{split}.segments" / f"{clip}.safetensors"


def choices_file(movie: Movie, split: str) -> Path:
    """Which key object was chosen, and why."""
    return movie.folder / "labels" / f"{split}.key_objects.jsonl"


def write_whole(path: Path, text: str) -> None:
    """Writes the file completely, or leaves it unchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def replace_clips(movie: Movie, split: str, clips: Iterable[Clip]) -> None:
    """Rewrites the lines of a split's clips."""
    path = movie.layout.clips(split)
    aside = path.with_name(f".{path.name}.part")
    try:
        write_clip_lines(aside, clips)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
