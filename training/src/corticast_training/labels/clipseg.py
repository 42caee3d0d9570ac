"""CLIPSeg from a local folder: a segmenter that needs no server.

Lüddecke and Ecker 2022, arXiv:2112.10003. The folder is in the layout of `transformers`
(config.json, weights, preprocessor_config.json); nothing is downloaded. Its masks are coarse (a
22x22 grid at 352 px), enough for a centroid and for the 64x64 masks of the training.
Use a better segmenter over HTTP.
"""

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch.nn import functional

from corticast_training.errors import TrainingError
from corticast_training.labels.config import Segment
from corticast_training.model_folder import sha256_of
from corticast_training.targets import bpe

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
VOCABULARY = 49408
"""CLIP's, whose ids `bpe` makes."""


class ClipSeg:
    """See `segmenters.Segmenter`."""

    def __init__(self, folder: Path, settings: Segment, device: torch.device) -> None:
        """Loads the network. Raises `TrainingError` if the folder contains another network."""
        self._network, self._prepare = _load(folder)
        self._network.to(device)
        self._settings, self._device = settings, device
        weights = next(folder / name for name in WEIGHTS if (folder / name).is_file())
        asked = f"{settings.prompt!r}, from {settings.threshold:g}"
        self.name = f"clipseg {sha256_of(weights)[:12]}, {asked}"

    @torch.inference_mode()
    def masks(self, frames: NDArray[np.uint8], tags: Sequence[str]) -> NDArray[np.bool_]:
        """See `segmenters.Segmenter`."""
        # A copy, because torch warns about read-only arrays.
        pixels = self._prepare(images=list(frames.copy()), return_tensors="pt")["pixel_values"]
        pixels = pixels.to(self._device)
        return np.stack([self._mask(pixels, tag, frames.shape[1:3]) for tag in tags])

    def _mask(self, pixels: torch.Tensor, tag: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        # Padded with the end token, as CLIPSeg's own tokenizer does.
        row = torch.from_numpy(bpe.sd15_ids(self._settings.prompt.format(tag=tag)))
        ids = row.to(self._device)[None].expand(len(pixels), -1)
        logits = self._network(input_ids=ids, pixel_values=pixels).logits
        # The output for a single frame lacks the frame axis.
        logits = logits.reshape(len(pixels), 1, *logits.shape[-2:])
        large = functional.interpolate(logits, shape, mode="bilinear", align_corners=False)
        found: NDArray[np.bool_] = (large.sigmoid()[:, 0] >= self._settings.threshold).cpu().numpy()
        return found


def _load(folder: Path) -> tuple[Any, Any]:
    # transformers takes seconds to import, and HTTP segmenters do not need it.
    from transformers import AutoConfig, AutoImageProcessor, CLIPSegForImageSegmentation

    for name in ("config.json", "preprocessor_config.json"):
        if not (folder / name).is_file():
            raise TrainingError(f"{folder}: no {name} in it, expected a folder of `transformers`")
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise TrainingError(f"{folder}: no weights in it, expected {' or '.join(WEIGHTS)}")
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if config.model_type != "clipseg":
            raise TrainingError(
                f"{folder}: is of type {config.model_type!r}, expected 'clipseg'; other segmenters "
                "are asked through --endpoint"
            )
        if config.text_config.vocab_size != VOCABULARY:
            raise TrainingError(
                f"{folder}: has {config.text_config.vocab_size} token ids, expected CLIP's "
                f"{VOCABULARY}"
            )
        prepare = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        loaded: Any = CLIPSegForImageSegmentation.from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
        network, info = loaded
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        SafetensorError,
        UnpicklingError,
    ) as error:
        raise TrainingError(f"{folder}: cannot be loaded as CLIPSeg: {error}") from error
    if missing := sorted(info["missing_keys"]):
        raise TrainingError(f"{folder}: {len(missing)} weights are missing, the first {missing[0]}")
    return network.eval(), prepare
