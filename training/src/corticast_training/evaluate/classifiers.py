"""Classifiers from local folders, for frames and for videos.

A folder has the layout of `transformers` (config.json, model.safetensors and
preprocessor_config.json). Examples: ViT on ImageNet, VideoMAE on Kinetics.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForVideoClassification,
)

from corticast_training.errors import TrainingError

BATCH = 32

Classifier = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def image_classifier(folder: Path) -> Classifier:
    """Frames `[n, h, w, 3]` → logits `[n, n_class]`."""
    network, prepare = _load(folder, AutoModelForImageClassification)

    def classify(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = [frames[k : k + BATCH] for k in range(0, len(frames), BATCH)]
        return np.concatenate([_logits(network, prepare(list(part))) for part in parts])

    return classify


def video_classifier(folder: Path) -> Classifier:
    """One video `[F, h, w, 3]` → logits `[n_class]`; frames are repeated up to its input length."""
    network, prepare = _load(folder, AutoModelForVideoClassification)
    n_frame = getattr(network.config, "num_frames", None)
    if not n_frame:
        raise TrainingError(f"{folder}/config.json: `num_frames` is missing, expected VideoMAE")

    def classify(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        index = np.arange(n_frame) * len(frames) // n_frame
        return np.asarray(_logits(network, prepare(list(frames[index])))[0])

    return classify


def _load(folder: Path, kind: Any) -> tuple[Any, Callable[[Any], Any]]:
    for name in ("config.json", "preprocessor_config.json"):
        if not (folder / name).is_file():
            raise TrainingError(f"{folder}: no {name} in it, expected a folder of `transformers`")
    try:
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        network = kind.from_pretrained(folder, local_files_only=True).eval()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise TrainingError(f"{folder}: cannot be loaded: {error}") from error
    return network, lambda pictures: processor(pictures, return_tensors="pt")


def _logits(network: Any, inputs: Any) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(network(**inputs).logits.float().numpy())
