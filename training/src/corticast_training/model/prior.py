"""The diffusion prior: from noisy image tokens and the brain's tokens to clean image tokens.

The transformer of DALL-E 2's prior, with the parts that MindEye2 chose, so that published
weights load: one key/value head for all query heads, one learned null key and value,
cosine-similarity attention, relative position buckets as in T5, rotary embedding, SwiGLU.
It predicts x0. Its input, in this order:

```text
N brain tokens, 1 time token, N noisy image tokens + learned position  →  last N = x0
```
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from corticast_training.config import Sizes
from corticast_training.model.positions import relative_buckets, rotary_angles, sinusoids

SCALE = 16.0
"""Of the cosine similarities."""
N_BUCKET = 32


class Prior(nn.Module):
    """Predicts the image tokens x0 from noisy ones, the step and the brain's tokens."""

    bucket: Tensor
    cos: Tensor
    sin: Tensor
    time_table: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        n_token, channels = sizes.n_token, sizes.channels
        self.n_token = n_token
        self.learned_query = nn.Parameter(torch.randn(n_token, channels) * channels**-0.5)
        self.null_brain_embeds = nn.Parameter(torch.randn(n_token, channels))
        self.null_image_embed = nn.Parameter(torch.randn(n_token, channels))
        self.time_mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels),
            nn.SiLU(),
            nn.Linear(2 * channels, 2 * channels),
            nn.SiLU(),
            nn.Linear(2 * channels, channels),
        )
        self.relative_bias = nn.Embedding(N_BUCKET, sizes.prior_heads)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.prior_depth))
        self.norm = Norm(channels, stable=True)
        self.project_out = nn.Linear(channels, channels, bias=False)

        # Tables, not formulas: they stay exact in a model that is stored in half precision.
        length = 2 * n_token + 1
        cos, sin = rotary_angles(length, sizes.prior_dim_head)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        bucket = relative_buckets(length, length + 1, N_BUCKET)
        self.register_buffer("bucket", bucket, persistent=False)
        table = sinusoids(sizes.prior_steps, channels)
        self.register_buffer("time_table", table, persistent=False)

    def forward(
        self,
        noisy: Tensor,
        timestep: Tensor,
        brain: Tensor,
        keep_brain: Tensor | None = None,
        keep_image: Tensor | None = None,
    ) -> Tensor:
        """x0 `[B, N, C]` from noisy and brain tokens `[B, N, C]` at `timestep`, i64 `[B]`.

        Where `keep_brain` or `keep_image`, bool `[B]`, is false, a learned null embedding replaces
        the condition, as in classifier-free guidance.
        """
        if keep_brain is not None:
            brain = torch.where(keep_brain[:, None, None], brain, self.null_brain_embeds)
        if keep_image is not None:
            noisy = torch.where(keep_image[:, None, None], noisy, self.null_image_embed)
        time = self.time_mlp(self.time_table[timestep])
        x = torch.cat((brain, time[:, None], noisy + self.learned_query), dim=1)
        bias = self.relative_bias(self.bucket).permute(2, 0, 1)
        for layer in self.layers:
            x = layer(x, bias, self.cos, self.sin)
        x0: Tensor = self.project_out(self.norm(x[:, -self.n_token :]))
        return x0


class Layer(nn.Module):
    """Attention, then feed-forward, each with a residual. `[B, n, C]` to `[B, n, C]`."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        channels = sizes.channels
        self.attention = Attention(channels, sizes.prior_heads, sizes.prior_dim_head)
        self.feed_forward = nn.ModuleDict(
            {
                "norm": Norm(channels),
                "up": nn.Linear(channels, 8 * channels, bias=False),
                "down": nn.Linear(4 * channels, channels, bias=False),
            }
        )

    def forward(self, x: Tensor, bias: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """`bias` is `[heads, n, n + 1]`, `cos` and `sin` are `[n, rotated channels]`."""
        x = self.attention(x, bias, cos, sin) + x
        value, gate = self.feed_forward["up"](self.feed_forward["norm"](x)).chunk(2, dim=-1)
        fed: Tensor = self.feed_forward["down"](value * functional.silu(gate))
        return fed + x


class Attention(nn.Module):
    """Many query heads, one key/value head, one learned null key and value before them."""

    def __init__(self, channels: int, heads: int, dim_head: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = Norm(channels)
        self.null_kv = nn.Parameter(torch.randn(2, dim_head))
        self.to_q = nn.Linear(channels, heads * dim_head, bias=False)
        self.to_kv = nn.Linear(channels, 2 * dim_head, bias=False)
        self.to_out = nn.Sequential(
            nn.Linear(heads * dim_head, channels, bias=False), Norm(channels)
        )

    def forward(self, x: Tensor, bias: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Tokens `[B, n, C]`; `bias` `[heads, n, n + 1]`, the null key first."""
        x = self.norm(x)
        query = self.to_q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.to_kv(x).chunk(2, dim=-1)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        # Made of the tokens, so that an exported graph keeps its batch axis.
        null_key = self.null_kv[0].expand_as(key[:, :1])
        null_value = self.null_kv[1].expand_as(value[:, :1])
        key = torch.cat((null_key, key), dim=1)
        value = torch.cat((null_value, value), dim=1)
        query = functional.normalize(query, dim=-1) * math.sqrt(SCALE)
        key = functional.normalize(key, dim=-1) * math.sqrt(SCALE)
        weights = query @ key[:, None].transpose(-1, -2) + bias
        attended = weights.softmax(dim=-1) @ value[:, None]
        out: Tensor = self.to_out(attended.transpose(1, 2).flatten(2))
        return out


class Norm(nn.Module):
    """Layer norm with a gain and no shift over the last axis.

    `stable` first divides by the signed maximum of the channels, as DALL-E 2's prior does at
    its end.
    """

    def __init__(self, channels: int, *, stable: bool = False) -> None:
        super().__init__()
        self.stable = stable
        self.g = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`[..., C]` to `[..., C]`."""
        if self.stable:
            x = x / x.amax(dim=-1, keepdim=True).detach()
        return functional.layer_norm(x, self.g.shape, self.g, None, 1e-5)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of the first channels of `[..., n, D]`, in pairs (0, 1), (2, 3), ..."""
    turned, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    even, odd = torch.unflatten(turned, -1, (-1, 2)).unbind(dim=-1)
    swapped = torch.stack((-odd, even), dim=-1).flatten(-2)
    return torch.cat((turned * cos + swapped * sin, rest), dim=-1)
