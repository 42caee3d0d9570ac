"""The truth that figures are computed against: the clips of a split and their targets."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corticast_training.config import Config, Sizes
from corticast_training.data.movie import Movie
from corticast_training.errors import TrainingError
from corticast_training.targets.store import FACTS, Targets, read_facts, read_targets


@dataclass(frozen=True)
class Truth:
    """One split of a movie data set. `n` counts its clips, in the order of its list."""

    data_set: str
    split: str
    sizes: Sizes
    clip_ids: list[str]
    captions: list[str]
    frames: NDArray[np.uint8]
    """Shape `[n, F, h, w, 3]`."""
    labels: NDArray[np.bool_]
    """Shape `[n, n_class]`."""
    image_tokens: NDArray[np.floating]
    """Shape `[n, F, N, C]`, mapped from disk where it is large."""
    masks: NDArray[np.uint8]
    """Shape `[n, F, m, m]`: the key object, 0 or 1."""
    common_label: int
    """The class that most training clips have."""

    @property
    def keyframe(self) -> int:
        """The frame whose tokens the brain model and the prior learn: the third."""
        return min(2, self.sizes.n_frame - 1)


def sizes_of(targets: Path) -> Sizes:
    """The sizes that the targets were made with; all other sizes are those of a preset."""
    facts, _ = read_facts(targets)
    stated: dict[str, Any] = facts.get("sizes", {})
    wanted = ("n_frame", "n_token", "channels", "text_dim", "latent", "mask", "caption_tokens")
    wrong = [k for k in wanted if type(stated.get(k)) is not int or stated[k] < 1]
    if wrong:
        raise TrainingError(f"{targets / FACTS}: no size {wrong[0]!r} in [sizes]")
    same = {key: stated[key] for key in wanted if key != "mask"}
    sizes = dataclasses.replace(Config.load("tiny").sizes, **same)
    doublings = stated["mask"] // sizes.grid
    sizes = dataclasses.replace(sizes, up_channels=(1,) * doublings.bit_length())
    if sizes.mask != stated["mask"]:
        raise TrainingError(
            f"{targets / FACTS}: mask is {stated['mask']}, expected {sizes.grid} times a power of 2"
        )
    return sizes


def read_truth(movie: Movie, targets_dir: Path, split: str) -> tuple[Truth, Targets]:
    """The clips of a split, joined with their targets by position."""
    sizes = sizes_of(targets_dir)
    targets = read_targets(targets_dir, sizes)
    clips, found = movie.clips(split), targets.split(split)
    name = targets.facts.get("data", {}).get("name")
    if name != movie.facts.name or len(found) != len(clips):
        raise TrainingError(
            f"{targets_dir}: targets of {len(found)} {split} clips of {name!r}, expected "
            f"{len(clips)} of {movie.facts.name!r}: make the targets of this data set"
        )
    truth = Truth(
        data_set=movie.facts.name,
        split=split,
        sizes=sizes,
        clip_ids=[clip.clip for clip in clips],
        captions=[clip.caption or "" for clip in clips],
        frames=movie.frames(split),
        labels=np.asarray(found.labels) > 0,
        image_tokens=found.image_tokens,
        masks=found.masks,
        common_label=int(np.asarray(targets.train.labels).sum(axis=0).argmax()),
    )
    return truth, targets
