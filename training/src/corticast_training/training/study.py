"""The data of a stage: the BOLD of every subject beside the targets of every clip."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corticast_training.data.prepared import PreparedData
from corticast_training.targets.store import Targets

FRAME = 2
"""The frame (0-based) that stands for its clip: target of the prior and of retrieval."""


@dataclass(frozen=True)
class SubjectBold:
    """One subject's training windows."""

    subject: str
    windows: NDArray[np.float32]
    """`[n_repeat, n, S, V]`, normalised, clips in order of time."""
    clip: NDArray[np.int64]
    """`[n]`: row of the targets that each window belongs to."""
    prepared: PreparedData

    def bold(self, repeat: int, rows: NDArray[np.int64]) -> Tensor:
        """Windows `rows` of a repeat: `[b, S, V]`; repeats are counted round."""
        return torch.from_numpy(self.windows[repeat % len(self.windows), rows])


@dataclass(frozen=True)
class Study:
    """All subjects and one set of targets. `clip` is always rows of the training targets."""

    subjects: list[SubjectBold]
    targets: Targets
    clips: list[str]
    """Names of the training clips, in order."""
    segments: list[int]
    """Segment of each."""
    key_class: NDArray[np.int64]
    """`[n_clip]`: class of the key object, which is also its row of names; -1 without one."""
    data: dict[str, Any]
    """What the data set says of itself."""

    @property
    def n_voxel(self) -> dict[str, int]:
        """V of each subject."""
        return {own.subject: own.windows.shape[3] for own in self.subjects}

    @property
    def window_volumes(self) -> int:
        """S."""
        return int(self.subjects[0].windows.shape[2])

    @property
    def projection(self) -> Tensor:
        """Mean image token to text embedding, `[C, T]`."""
        return _tensor(self.targets.projection)

    def usable(self, held_out: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
        """Of each subject, the clip of each window, -1 where it is held out."""
        return [np.where(held_out[own.clip], -1, own.clip) for own in self.subjects]

    def image_tokens(self, clip: NDArray[np.int64], frame: int) -> Tensor:
        """CLIP tokens of one frame, `[b, N, C]`."""
        return _tensor(self.targets.train.image_tokens[clip, frame])

    def frame_tokens(self, clip: NDArray[np.int64]) -> Tensor:
        """CLIP tokens of all frames, `[b, F, N, C]`."""
        return _tensor(self.targets.train.image_tokens[clip])

    def text_embed(self, clip: NDArray[np.int64]) -> Tensor:
        """Embedding of the caption, `[b, T]`."""
        return _tensor(self.targets.train.text_embed[clip])

    def caption_ids(self, clip: NDArray[np.int64]) -> Tensor:
        """Start, ids, end and zeros: i64 `[b, 60]`."""
        return torch.from_numpy(np.array(self.targets.train.caption_ids[clip]))

    def labels(self, clip: NDArray[np.int64]) -> Tensor:
        """1 where the clip shows the class, `[b, 51]`."""
        return _tensor(self.targets.train.labels[clip])

    def masks(self, clip: NDArray[np.int64]) -> Tensor:
        """1 where the key object is, `[b, F, m, m]`."""
        return _tensor(self.targets.train.masks[clip])

    def latents(self, clip: NDArray[np.int64]) -> Tensor:
        """VAE latents, `[b, F, 4, l, l]`."""
        return _tensor(self.targets.train.latents[clip])

    def has_key(self, clip: NDArray[np.int64]) -> Tensor:
        """Whether there is a key object, f32 `[b]`."""
        return _tensor(self.targets.train.key_name[clip] >= 0)

    def key_states(
        self, clip: NDArray[np.int64], by_class: NDArray[np.bool_], text_keys: str
    ) -> tuple[Tensor, Tensor]:
        """Text states `[b, L, T]` and lengths `[b]` that the key object is asked for by.

        Its class's where `by_class` `[b]`, else its name's; the first name's where there is no
        key object, which no loss looks at. With `text_keys` = `batch` (see `model.regions`) the
        only state is the pooled embedding, as in the public code.
        """
        name = np.where(by_class, self.key_class[clip], self.targets.train.key_name[clip])
        name = np.maximum(name, 0)
        if text_keys == "batch":
            return _tensor(self.targets.pooled[name])[:, None], torch.ones(len(name)).long()
        length = torch.from_numpy(np.array(self.targets.length[name]))
        return _tensor(self.targets.states[name]), length


def parts_of(
    groups: Sequence[NDArray[np.int64]], rows: Tensor
) -> list[tuple[Tensor, NDArray[np.int64]]]:
    """Splits positions of a batch by subject: (positions, windows of that subject) of each."""
    found, start = [], 0
    for whole in groups:
        own = rows[(rows >= start) & (rows < start + len(whole))]
        found.append((own, whole[(own - start).numpy()]))
        start += len(whole)
    return found


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))
