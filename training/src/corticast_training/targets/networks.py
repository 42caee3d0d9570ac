"""The parts of a set of pretrained networks, and the scale of their latents.

Every set, read from folders or tiny, is a `Networks`; its parts have the interfaces below.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

LATENT_SCALE = 0.18215
"""Of Stable Diffusion 1: its networks take the VAE's latents times this."""


class Clip(Protocol):
    """Image and text towers with one joint space."""

    def image(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """`[n, 3, h, w]` in 0..1 to tokens `[n, N, C]` and joint embeddings `[n, D]`."""

    def text(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Zero-padded ids `[n, 77]` to token states `[n, 77, T]` and embeddings `[n, T]`."""


class Vae(Protocol):
    """A variational autoencoder of factor 8 with 4 latent channels."""

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """`[n, 3, 8l, 8l]` in -1..1 to mean and log variance `[n, 4, l, l]`."""

    def decode(self, latent: Tensor) -> Tensor:
        """`[n, 4, l, l]` to `[n, 3, 8l, 8l]` in -1..1."""


@dataclass(frozen=True, kw_only=True)
class Networks:
    """The networks of a folder or of the tiny set."""

    clip: Clip
    vae: Vae
    projection: NDArray[np.float32]
    """Mean image token to text embedding, `[C, T]`."""
    projection_name: str
    """File it came from, or how it was made."""
    provenance: dict[str, str]
    """Names and hashes of the weights, for targets.toml."""
