"""The text-driven decoder: from a frame's tokens and a text to a mask and to latents.

Key-object segmentation and blurry reconstruction share it. Each token of a frame attends
to the states of a text; the result goes through 1x1 convolutions and the video decoder.

`text_keys` chooses these states:

- `tokens`: those of the clip's own text. For segmentation the token states of the key object's
  name. For reconstruction the clip's text embedding, which as a single key is the same for
  every token. So the query is added; otherwise a frame would have no spatial signal.
- `batch`: those of all clips of the batch, given as one pooled vector of each, and the video
  decoder's temporal attention also runs over all frames of the batch. This is what the public
  code does and what its weights were trained with. **A clip's masks and latents then depend on
  the clips beside it**, and with a batch of one they carry no spatial signal at all. For loading
  published weights only.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from corticast_training.config import Sizes
from corticast_training.errors import TrainingError
from corticast_training.model.video_decoder import VideoDecoder

TEXT_KEYS = ("tokens", "batch")


class Regions(nn.Module):
    """Masks of a named object, and VAE latents, of every frame of a clip."""

    def __init__(
        self,
        sizes: Sizes,
        *,
        attention_dropout: float = 0.1,
        decoder_dropout: float = 0.3,
        text_keys: str = "tokens",
    ) -> None:
        super().__init__()
        if text_keys not in TEXT_KEYS:
            raise TrainingError(f"text_keys is {text_keys!r}, expected {' or '.join(TEXT_KEYS)}")
        self.sizes = sizes
        self.text_keys = text_keys
        text_dim, widths = sizes.text_dim, sizes.decoder_channels
        self.q = nn.Linear(sizes.channels, text_dim, bias=False)
        self.k = nn.Linear(text_dim, text_dim, bias=False)
        self.v = nn.Linear(text_dim, text_dim, bias=False)
        self.out = nn.Linear(text_dim, text_dim, bias=False)
        self.attention_dropout = nn.Dropout(attention_dropout)
        self.out_dropout = nn.Dropout(attention_dropout)
        self.maps_projector = maps_projector(text_dim, widths)
        self.dropout = nn.Dropout(decoder_dropout)
        self.norm = nn.GroupNorm(1, widths[-1])
        self.video_decoder = VideoDecoder(widths[-1], sizes.up_channels)
        self.seg_head = nn.Conv2d(sizes.up_channels[-1], 1, 3, padding=1)
        self.recon_head = nn.Conv2d(sizes.up_channels[-1], 4, 3, padding=1)

    def objects(self, frames: Tensor, states: Tensor, length: Tensor | None = None) -> Tensor:
        """Mask logits `[B, F, 1, m, m]` of the object that a text names.

        Frames `[B, F, N, C]`, states of the text's tokens `[B, L, T]`, of which the first
        `length`, i64 `[B]`, are real (all of them without it).
        """
        maps = self._decode(self._ask(frames, states, length, residual=False))
        return self._per_frame(self.seg_head(maps))

    def reconstruct(self, frames: Tensor, text: Tensor) -> Tensor:
        """VAE latents `[B, F, 4, l, l]` from frames `[B, F, N, C]` and text `[B, T]`."""
        residual = self.text_keys == "tokens"
        maps = self._decode(self._ask(frames, text[:, None], None, residual))
        latents = self.recon_head(maps)
        return self._per_frame(functional.interpolate(latents, size=(self.sizes.latent,) * 2))

    def _ask(self, frames: Tensor, states: Tensor, length: Tensor | None, residual: bool) -> Tensor:
        """Attention of every token of every frame over the text's states, `[B, F·N, T]`."""
        query = self.q(frames.flatten(1, 2))
        key, value = self.k(states), self.v(states)
        hidden = None if length is None else _padding(states, length)
        if self.text_keys == "batch":
            key, value = key.flatten(0, 1)[None], value.flatten(0, 1)[None]
            hidden = None if hidden is None else hidden.flatten()[None]
        scores = query @ key.transpose(-1, -2) * self.sizes.channels**-0.5
        if hidden is not None:
            scores = scores.masked_fill(hidden[:, None], float("-inf"))
        attended = self.attention_dropout(scores.softmax(dim=-1)) @ value
        if residual:
            attended = attended + query
        answered: Tensor = self.out_dropout(self.out(attended))
        return answered

    def _decode(self, answered: Tensor) -> Tensor:
        """`[B, F·N, T]` to feature maps `[B·F, c, m, m]`."""
        grid = self.sizes.grid
        maps = torch.unflatten(answered.transpose(1, 2), 2, (self.sizes.n_frame, grid, grid))
        maps = self.maps_projector(maps.transpose(1, 2).flatten(0, 1))
        attending = self.sizes.n_frame * (answered.shape[0] if self.text_keys == "batch" else 1)
        decoded: Tensor = self.video_decoder(self.norm(self.dropout(maps)), attending)
        return decoded

    def _per_frame(self, maps: Tensor) -> Tensor:
        return torch.unflatten(maps, 0, (-1, self.sizes.n_frame))


def maps_projector(text_dim: int, widths: tuple[int, ...]) -> nn.Sequential:
    """1x1 convolutions `T → widths`, with GroupNorm(1) and ReLU after all but the last."""
    layers: list[nn.Module] = []
    before = text_dim
    for width in widths[:-1]:
        layers += [nn.Conv2d(before, width, 1, bias=False), nn.GroupNorm(1, width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.Conv2d(before, widths[-1], 1))


def _padding(states: Tensor, length: Tensor) -> Tensor:
    """True where a state is padding, `[B, L]`."""
    return torch.arange(states.shape[1], device=states.device) >= length[:, None]
