"""Pretrained networks behind one interface: CLIP's image and text towers, a VAE, a projection.

`load("tiny", sizes)` is a small set with fixed weights that needs no file, for tests and for
`synth`. `load(folder, sizes)` reads OpenCLIP and a Stable Diffusion VAE from local folders;
nothing is ever downloaded. Both are checked against `Sizes` with one small batch, so that networks
that pass here fit everywhere else.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corticast_training.config import Sizes
from corticast_training.errors import TrainingError
from corticast_training.targets import bpe
from corticast_training.targets.networks import LATENT_SCALE, Networks

TINY = "tiny"


class Pretrained:
    """The networks with NumPy inputs and outputs: u8 frames and strings in, float32 out."""

    def __init__(
        self, networks: Networks, sizes: Sizes, device: torch.device, batch: int, tiny: bool
    ) -> None:
        self.provenance = networks.provenance
        self.projection = networks.projection
        self.projection_name = networks.projection_name
        self.device = device
        self.tiny = tiny
        self._clip = networks.clip
        self._vae = networks.vae
        self._sizes = sizes
        self._batch = batch
        for part in (self._clip, self._vae):
            if isinstance(part, nn.Module):
                part.to(device).eval().requires_grad_(False)

    def image_tokens(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`[n, h, w, 3]` to tokens `[n, N, C]`."""
        return self._over_frames(frames, lambda pixels: self._clip.image(pixels)[0])

    def image_embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`[n, h, w, 3]` to embeddings in the space that images and texts share, `[n, D]`."""
        return self._over_frames(frames, lambda pixels: self._clip.image(pixels)[1])

    def text_embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One embedding per text, unnormalised, `[n, T]`."""
        rows = [self._text(texts[k : k + self._batch])[1] for k in self._starts(len(texts))]
        return _joined(rows, (0, self._sizes.text_dim))

    def text_states(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """State of each token of each text, start and end included, `[L, T]`."""
        states: list[NDArray[np.float32]] = []
        for k in self._starts(len(texts)):
            some = texts[k : k + self._batch]
            found = self._text(some)[0].float().cpu().numpy()
            for row, text in zip(found, some, strict=True):
                states.append(row[: min(bpe.n_ids(text), bpe.CONTEXT)].copy())
        return states

    def vae_encode(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`[n, h, w, 3]` to latents `[n, 4, l, l]`: the mode times 0.18215."""

        def encode(pixels: Tensor) -> Tensor:
            edge = self._sizes.image
            if pixels.shape[-2:] != (edge, edge):
                pixels = nn.functional.interpolate(
                    pixels, (edge, edge), mode="bilinear", antialias=True
                )
            return self._vae.encode(2 * pixels - 1)[0] * LATENT_SCALE

        return self._over_frames(frames, encode)

    def vae_decode(self, latents: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        """Latents `[n, 4, l, l]`, times 0.18215, to pictures `[n, 8l, 8l, 3]`."""
        pictures = []
        with torch.inference_mode():
            for k in self._starts(len(latents)):
                some = torch.from_numpy(np.asarray(latents[k : k + self._batch], np.float32))
                image = self._vae.decode(some.to(self.device) / LATENT_SCALE)
                levels = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
                pictures.append(levels.permute(0, 2, 3, 1).cpu().numpy())
        edge = self._sizes.image
        return np.concatenate(pictures) if pictures else np.zeros((0, edge, edge, 3), np.uint8)

    def check(self) -> None:
        """Raises `TrainingError` if the networks differ from the sizes of the preset."""
        sizes = self._sizes
        frames = np.zeros((1, sizes.image, sizes.image, 3), np.uint8)
        expected = {
            "image tokens": (self.image_tokens(frames), (1, sizes.n_token, sizes.channels)),
            "text embeddings": (self.text_embed(["a"]), (1, sizes.text_dim)),
            "text states": (self.text_states(["a"])[0], (3, sizes.text_dim)),
            "latents": (self.vae_encode(frames), (1, 4, sizes.latent, sizes.latent)),
            "the projection": (self.projection, (sizes.channels, sizes.text_dim)),
        }
        for what, (found, shape) in expected.items():
            if found.shape != shape:
                raise TrainingError(
                    f"{what} of the pretrained networks are {list(found.shape)}, expected "
                    f"{list(shape)} by the preset: name the preset that they belong to"
                )

    def _over_frames(
        self, frames: NDArray[np.uint8], network: Callable[[Tensor], Tensor]
    ) -> NDArray[np.float32]:
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            raise TrainingError(
                f"frames are {frames.dtype} {list(frames.shape)}, expected u8 [n, h, w, 3]"
            )
        rows = []
        with torch.inference_mode():
            for k in self._starts(len(frames)):
                some = torch.from_numpy(np.array(frames[k : k + self._batch]))
                rows.append(network(some.to(self.device).permute(0, 3, 1, 2).float() / 255))
        return _joined(rows, (0,))

    def _text(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        ids = np.stack([bpe.caption_ids(text, bpe.CONTEXT) for text in texts])
        with torch.inference_mode():
            return self._clip.text(torch.from_numpy(ids).to(self.device))

    def _starts(self, n: int) -> range:
        return range(0, n, self._batch)


def load(
    folder_or_tiny: str | Path,
    sizes: Sizes,
    *,
    vae: Path | None = None,
    projection: Path | None = None,
    device: str = "auto",
    batch: int = 32,
) -> Pretrained:
    """Loads and checks; `vae` and `projection` default to the files in the folder."""
    if batch < 1:
        raise TrainingError(f"the batch is {batch}, expected 1 or more")
    where = device_named(device)
    if str(folder_or_tiny) == TINY:
        from corticast_training.targets.tiny import tiny_networks

        networks = tiny_networks(sizes, projection)
    else:
        from corticast_training.targets.folder import folder_networks

        networks = folder_networks(Path(folder_or_tiny), vae, projection, sizes, where, batch)
    pretrained = Pretrained(networks, sizes, where, batch, tiny=str(folder_or_tiny) == TINY)
    pretrained.check()
    return pretrained


def device_named(name: str) -> torch.device:
    """`auto` is CUDA if available, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"{name!r} is no device, expected auto, cpu or cuda:0") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError("no usable CUDA device found, expected one: say --device cpu")
    return device


def _joined(rows: Sequence[Tensor], empty: tuple[int, ...]) -> NDArray[np.float32]:
    if not rows:
        return np.zeros(empty, np.float32)
    return torch.cat([row.float().cpu() for row in rows]).numpy()
