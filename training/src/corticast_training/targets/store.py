"""A folder of targets: what `corticast-train targets` wrote, checked and memory-mapped.

```text
TARGETS/targets.toml             names and hashes of the networks, sizes, data set, `names`
TARGETS/{train,test}.safetensors one row per clip, in the order of the data set's jsonl
TARGETS/names.safetensors        states [K, L, T], length [K], pooled [K, T] of each name
TARGETS/projection.safetensors   proj [C, T]
```

targets.toml is written last: a folder without it is not complete.
"""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corticast_training.config import Sizes
from corticast_training.data.layout import SPLITS
from corticast_training.data.tensor_file import map_tensors
from corticast_training.errors import TrainingError
from corticast_training.labels.classes import CLASSES
from corticast_training.targets.tensors import Spec

FORMAT = 1
FACTS = "targets.toml"
CHECKED_BYTES = 1 << 30
"""Of a larger tensor every k-th row is looked at: reading 20 GB would cost minutes a start."""


@dataclass(frozen=True, kw_only=True)
class TargetSplit:
    """Targets of the training or test clips, row k for clip k."""

    image_tokens: NDArray[np.float16]
    """`[n, F, N, C]`: CLIP tokens of each frame."""
    text_embed: NDArray[np.float32]
    """`[n, T]`: of the caption, unnormalised."""
    caption_ids: NDArray[np.int64]
    """`[n, 60]`: start, ids, end, zeros."""
    labels: NDArray[np.uint8]
    """`[n, 51]`: 1 where the clip shows the class."""
    key_name: NDArray[np.int64]
    """`[n]`: the key object's row of `names`, -1 where there is none."""
    masks: NDArray[np.uint8]
    """`[n, F, m, m]`: 1 where the key object is."""
    latents: NDArray[np.float16]
    """`[n, F, 4, l, l]`: VAE mode times 0.18215."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """All targets of a training."""

    folder: Path
    facts: dict[str, Any]
    """targets.toml."""
    sha256: str
    """Of targets.toml, which holds the hashes of the other files."""
    train: TargetSplit
    test: TargetSplit
    names: list[str]
    """Of the rows of states: the 51 classes in order, then other key objects."""
    states: NDArray[np.float32]
    """`[K, L, T]`: token states of each name, zero padded."""
    length: NDArray[np.int64]
    """`[K]`: tokens of each name, start and end included."""
    pooled: NDArray[np.float32]
    """`[K, T]`: embedding of each name."""
    projection: NDArray[np.float32]
    """`[C, T]`: mean image token to text embedding."""

    def split(self, name: str) -> TargetSplit:
        """`train` or `test`."""
        return {"train": self.train, "test": self.test}[name]

    @property
    def empty_classes(self) -> list[str]:
        """Classes that no training clip shows, which therefore cannot be learned."""
        shown = self.train.labels.sum(0, dtype=np.int64)
        return [name for name, n in zip(CLASSES, shown.tolist(), strict=True) if not n]


def split_specs(n: int, sizes: Sizes) -> dict[str, Spec]:
    """Types and shapes of a split of `n` clips."""
    frame = (n, sizes.n_frame)
    return {
        "image_tokens": (np.float16, (*frame, sizes.n_token, sizes.channels)),
        "text_embed": (np.float32, (n, sizes.text_dim)),
        "caption_ids": (np.int64, (n, sizes.caption_tokens)),
        "labels": (np.uint8, (n, len(CLASSES))),
        "key_name": (np.int64, (n,)),
        "masks": (np.uint8, (*frame, sizes.mask, sizes.mask)),
        "latents": (np.float16, (*frame, 4, sizes.latent, sizes.latent)),
    }


def read_targets(folder: Path, sizes: Sizes) -> Targets:
    """Opens a folder and checks types, shapes, finiteness and index ranges."""
    facts, sha256 = read_facts(folder)
    names = facts["names"]
    n = {split: _count(facts, split, folder) for split in SPLITS}
    splits = {
        split: _split(folder / f"{split}.safetensors", split_specs(n[split], sizes), len(names))
        for split in SPLITS
    }
    path = folder / "names.safetensors"
    states = _opened(path, ("states", "length", "pooled"))
    k, longest = len(names), int(states["states"].shape[1]) if states["states"].ndim == 3 else 0
    _check_tensors(
        path,
        states,
        {
            "states": (np.float32, (k, longest, sizes.text_dim)),
            "length": (np.int64, (k,)),
            "pooled": (np.float32, (k, sizes.text_dim)),
        },
    )
    length = states["length"]
    _check_range(path, "length", length, 1, longest)
    path = folder / "projection.safetensors"
    projection = _opened(path, ("proj",))
    _check_tensors(path, projection, {"proj": (np.float32, (sizes.channels, sizes.text_dim))})
    return Targets(
        folder=folder,
        facts=facts,
        sha256=sha256,
        train=splits["train"],
        test=splits["test"],
        names=names,
        states=states["states"],
        length=length,
        pooled=states["pooled"],
        projection=projection["proj"],
    )


def read_facts(folder: Path) -> tuple[dict[str, Any], str]:
    """targets.toml of a complete folder, and its hash."""
    path = folder / FACTS
    if not path.is_file():
        raise TrainingError(
            f"{folder}: no complete targets in it, expected {FACTS}: "
            "`corticast-train targets` writes it last"
        )
    content = path.read_bytes()
    try:
        facts = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: not TOML: {error}") from error
    if facts.get("format") != FORMAT:
        raise TrainingError(f"{path}: format is {facts.get('format')!r}, expected {FORMAT}")
    names = facts.get("names")
    if not isinstance(names, list) or tuple(names[: len(CLASSES)]) != CLASSES:
        raise TrainingError(f"{path}: `names` does not begin with the 51 classes in order")
    return facts, hashlib.sha256(content).hexdigest()


def _count(facts: dict[str, Any], split: str, folder: Path) -> int:
    n = facts.get(f"n_{split}")
    if not isinstance(n, int) or n < 1:
        raise TrainingError(f"{folder / FACTS}: n_{split} is {n!r}, expected a count of clips")
    return n


def _split(path: Path, specs: dict[str, Spec], n_name: int) -> TargetSplit:
    tensors = _opened(path, tuple(specs))
    _check_tensors(path, tensors, specs)
    _check_range(path, "labels", tensors["labels"], 0, 1)
    _check_range(path, "key_name", tensors["key_name"], -1, n_name - 1)
    return TargetSplit(**{name: tensors[name] for name in specs})


def _opened(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    tensors = map_tensors(path)
    for name in names:
        if name not in tensors:
            raise TrainingError(f"{path}: tensor {name!r} is missing, found {sorted(tensors)}")
    return tensors


def _check_tensors(path: Path, tensors: dict[str, NDArray[Any]], specs: dict[str, Spec]) -> None:
    for name, (dtype, shape) in specs.items():
        found = tensors[name]
        if found.dtype != dtype or found.shape != shape:
            raise TrainingError(
                f"{path}: {name!r} is {found.dtype} {list(found.shape)}, expected "
                f"{np.dtype(dtype)} {list(shape)} by the preset: make targets of the same preset"
            )
        if np.issubdtype(found.dtype, np.floating):
            step = 1 + found.nbytes // CHECKED_BYTES
            for row in range(0, len(found), step):
                if not np.isfinite(found[row]).all():
                    raise TrainingError(f"{path}: row {row} of {name!r} holds NaN or Inf")


def _check_range(path: Path, name: str, values: Any, low: int, high: int) -> None:
    if values.size and not (low <= values.min() and values.max() <= high):
        raise TrainingError(
            f"{path}: {name!r} runs from {values.min()} to {values.max()}, expected {low} to {high}"
        )
