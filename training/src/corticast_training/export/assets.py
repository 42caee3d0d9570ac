"""Files beside the graphs: text states of the class names, and the captions' vocabulary."""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from corticast_training.config import Sizes
from corticast_training.data.tensor_file import map_tensors
from corticast_training.errors import TrainingError
from corticast_training.labels.classes import CLASSES
from corticast_training.model_folder import sha256_of
from corticast_training.targets import bpe
from corticast_training.targets.store import read_facts

CLASS_STATES = "class_states.safetensors"
NAMES = "names.safetensors"
VOCABULARY_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"


def write_class_states(targets: Path, expected_sha256: str, sizes: Sizes, path: Path) -> None:
    """Writes `states` `[51, L, T]`, zero padded, and `length` `[51]` of the class names.

    Raises `TrainingError` unless `targets` is the folder that the model was trained on.
    """
    _, found = read_facts(targets)
    if found != expected_sha256:
        raise TrainingError(
            f"{targets}: targets.toml has SHA-256 {found}, expected {expected_sha256}, with which "
            "the model was trained: name those targets"
        )
    names = map_tensors(targets / NAMES)
    length = np.asarray(names["length"][: len(CLASSES)], dtype=np.int64)
    states = np.asarray(names["states"][: len(CLASSES), : int(length.max())], dtype=np.float32)
    if states.shape != (len(CLASSES), length.max(), sizes.text_dim) or length.min() < 1:
        raise TrainingError(
            f"{targets / NAMES}: states of the classes are {list(states.shape)}, expected "
            f"{[len(CLASSES), int(length.max()), sizes.text_dim]}"
        )
    # Not `save_file`, whose files only their owner can read.
    path.write_bytes(save({"states": np.ascontiguousarray(states), "length": length}))


def copy_vocabulary(folder: Path) -> str:
    """Copies CLIP's byte pairs into a folder; returns the file's name."""
    source = bpe.vocabulary_file()
    found = sha256_of(source)
    if found != VOCABULARY_SHA256:
        raise TrainingError(
            f"{source} has SHA-256 {found}, expected CLIP's {VOCABULARY_SHA256}: install the "
            "locked open_clip"
        )
    shutil.copyfile(source, folder / bpe.VOCABULARY_FILE)
    return bpe.VOCABULARY_FILE
