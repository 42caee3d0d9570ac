"""A small set of networks with fixed weights that needs no file.

The image tower turns the appearance of a patch (colours, edges and their directions) into tokens,
the text tower turns token ids into states, the VAE keeps block means. None of them understands a
picture, but similar pictures and similar captions are close to each other, spatial structure is
kept, and a latent decodes to a blurry version of its picture. That is enough for training and for
testing a decoder. Weights come from NumPy's frozen `RandomState`, so they are the same with every
version.
"""

import functools
import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from corticast_training.config import Sizes
from corticast_training.targets import bpe
from corticast_training.targets.networks import LATENT_SCALE, Networks
from corticast_training.targets.projection import read_projection

VERSION = 1
"""Counted up whenever a weight changes: targets made with another version differ."""
FINE = 4
"""Cells along the edge of a patch, each described for itself."""
EDGE_DIRECTIONS = 4
HIDDEN = 128


class TinyClip(nn.Module):
    """Image and text towers of the tiny set."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.image_tower = TinyImageTower(sizes)
        self.text_tower = TinyTextTower(sizes.text_dim)
        self.register_buffer("projection", torch.from_numpy(tiny_projection(sizes)))
        self.projection: Tensor

    def image(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """`[n, 3, h, w]` in 0..1 to tokens `[n, N, C]` and embeddings `[n, T]`."""
        tokens: Tensor = self.image_tower(pixels)
        return tokens, tokens.mean(1) @ self.projection

    def text(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Zero-padded ids `[n, 77]` to states `[n, 77, T]` and embeddings `[n, T]`."""
        found: tuple[Tensor, Tensor] = self.text_tower(ids)
        return found


class TinyImageTower(nn.Module):
    """Colours and edges of each patch through a fixed two-layer network, and a global mix."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.grid = sizes.grid
        n_feature = (3 + EDGE_DIRECTIONS) * (FINE**2 + 1)
        self.first = _fixed_linear(2 * n_feature, HIDDEN, seed=11)
        self.second = _fixed_linear(HIDDEN, sizes.channels, seed=12)
        grey = torch.full((1, 3, 8 * sizes.grid, 8 * sizes.grid), 0.5)
        with torch.no_grad():
            self.register_buffer("grey", self._network(self._features(grey)))
        self.grey: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        """`[n, 3, h, w]` in 0..1 to tokens `[n, N, C]`; a plain grey picture is all zero."""
        return self._network(self._features(pixels)) - self.grey

    def _network(self, features: Tensor) -> Tensor:
        whole = features.mean(1, keepdim=True).expand_as(features)
        hidden = torch.tanh(self.first(torch.cat([features, whole], -1)))
        tokens: Tensor = self.second(hidden)
        return tokens

    def _features(self, pixels: Tensor) -> Tensor:
        """The appearance of each patch, `[n, N, features]`, each of them about ±1."""
        edge = self.grid * FINE * 4
        pixels = functional.interpolate(pixels, (edge, edge), mode="bilinear", antialias=True)
        maps = torch.cat([2 * pixels - 1, _edges(pixels)], 1)
        fine = functional.adaptive_avg_pool2d(maps, self.grid * FINE)
        coarse = functional.adaptive_avg_pool2d(maps, self.grid)
        n, n_map = maps.shape[:2]
        cells = fine.reshape(n, n_map, self.grid, FINE, self.grid, FINE)
        cells = cells.permute(0, 2, 4, 1, 3, 5).reshape(n, self.grid**2, -1)
        # The mean of a patch is more informative than any one of its cells.
        return torch.cat([cells, FINE * coarse.flatten(2).transpose(1, 2)], -1)


class TinyTextTower(nn.Module):
    """Random token embeddings, each state mixed with those before it.

    The embedding of a text is the mean of its tokens' states: captions that share words in
    the same order are near each other.
    """

    def __init__(self, text_dim: int) -> None:
        super().__init__()
        self.text_dim = text_dim
        self.mix = _fixed_linear(text_dim, text_dim, seed=21)
        position = np.random.RandomState(22).standard_normal((bpe.CONTEXT, text_dim))
        self.register_buffer("position", torch.from_numpy(position.astype(np.float32)))
        self.position: Tensor

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Zero-padded ids `[n, L]` to states `[n, L, T]` and embeddings `[n, T]`."""
        words = torch.from_numpy(
            np.stack([[_word(int(one), self.text_dim) for one in row] for row in ids.cpu()])
        ).to(ids.device)
        before = torch.zeros_like(words[:, 0])
        states = []
        for k in range(ids.shape[1]):
            state = words[:, k] + self.mix(before) + 0.1 * self.position[k]
            states.append(functional.layer_norm(state, (self.text_dim,)))
            before = 0.5 * states[-1]
        stacked = torch.stack(states, 1)
        content = (ids != 0) & (ids < bpe.START_ID)
        # A text of no words still has its end token.
        content |= ~content.any(1, keepdim=True) & (ids == bpe.END_ID)
        weight = content.float().unsqueeze(-1)
        pooled = (stacked * weight).sum(1) / weight.sum(1)
        return stacked, functional.layer_norm(pooled, (self.text_dim,))


class TinyVae(nn.Module):
    """A VAE of factor 8 with fixed weights: it encodes block means and decodes a smooth picture.

    Latent channels are the block means of red, green and blue and the contrast of luminance
    inside the block; scaled by 0.18215 they lie about -1..1, as Stable Diffusion's do. The
    decoder up-samples the means and sharpens where the contrast was high. Fully convolutional.
    """

    factor = 8

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("luminance", torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1))
        self.luminance: Tensor

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """`[n, 3, h, w]` in -1..1 to mean and log variance `[n, 4, h/8, w/8]`."""
        means = functional.avg_pool2d(image, self.factor)
        light = (image * self.luminance).sum(1, keepdim=True)
        variance = functional.avg_pool2d(light**2, self.factor)
        variance = variance - functional.avg_pool2d(light, self.factor) ** 2
        contrast = 4 * torch.sqrt(variance.clamp_min(0) + 1e-6) - 1
        mean = torch.cat([means, contrast], 1) / LATENT_SCALE
        return mean, torch.full_like(mean, -6.0)

    def decode(self, latent: Tensor) -> Tensor:
        """`[n, 4, l, l]` to `[n, 3, 8l, 8l]` in -1..1."""
        scaled = latent * LATENT_SCALE
        colours, contrast = scaled[:, :3], scaled[:, 3:]
        around = functional.avg_pool2d(colours, 3, 1, 1, count_include_pad=False)
        amount = 0.5 * (contrast + 1).clamp(0, 2)
        sharper = colours + amount * (colours - around)
        image = functional.interpolate(sharper, scale_factor=float(self.factor), mode="bilinear")
        return image.clamp(-1, 1)

    def forward(self, latent: Tensor) -> Tensor:
        """Decodes a latent; this is the function that is exported."""
        return self.decode(latent)


def tiny_projection(sizes: Sizes) -> NDArray[np.float32]:
    """A fixed random matrix `[C, T]` that keeps lengths on average."""
    draw = np.random.RandomState(31).standard_normal((sizes.channels, sizes.text_dim))
    return np.asarray(draw / np.sqrt(sizes.channels), np.float32)


def tiny_networks(sizes: Sizes, projection: Path | None) -> Networks:
    """The whole set at the sizes of a preset."""
    matrix = tiny_projection(sizes)
    name = "tiny"
    if projection is not None:
        matrix, name = read_projection(projection)
    shape = f"tiny {VERSION}: C {sizes.channels}, N {sizes.n_token}, T {sizes.text_dim}"
    return Networks(
        clip=TinyClip(sizes),
        vae=TinyVae(),
        projection=matrix,
        projection_name=name,
        provenance={"name": "tiny", "sha256": hashlib.sha256(shape.encode()).hexdigest()},
    )


def _edges(pixels: Tensor) -> Tensor:
    """Strength of edges in four directions, `[n, 4, h, w]`, from luminance."""
    weight = pixels.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    light = functional.pad((pixels * weight).sum(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = light[..., 1:-1, 2:] - light[..., 1:-1, :-2]
    down = light[..., 2:, 1:-1] - light[..., :-2, 1:-1]
    angles = [np.pi * k / EDGE_DIRECTIONS for k in range(EDGE_DIRECTIONS)]
    responses = [(float(np.cos(a)) * across + float(np.sin(a)) * down).abs() for a in angles]
    return 4 * torch.cat(responses, 1)


def _fixed_linear(n_in: int, n_out: int, seed: int) -> nn.Linear:
    random = np.random.RandomState(seed)
    linear = nn.Linear(n_in, n_out)
    weight = random.standard_normal((n_out, n_in)) * np.sqrt(2 / n_in)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight.astype(np.float32)))
        linear.bias.copy_(torch.from_numpy(0.1 * random.standard_normal(n_out).astype(np.float32)))
    return linear


@functools.lru_cache(maxsize=65536)
def _word(token: int, text_dim: int) -> NDArray[np.float32]:
    draw = np.random.RandomState(1000 + token).standard_normal(text_dim)
    return np.asarray(draw, np.float32)
