"""The captioner: GPT-2 that continues a prefix, made from a text embedding, in CLIP's tokens.

An implementation of GPT-2 (Radford et al. 2019) with its keys and values as explicit tensors, so
that one step of decoding is a function that can be exported. Weights have the published layout:
linear layers store them as `[in, out]`, and the output layer is the token embedding.

    past  [layers, 2, B, heads, t, E / heads]      keys, then values; t = 0 before the first step
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from corticast_training.config import GPT2_VOCABULARY, STOP_ID, Sizes

INIT_STD = 0.02
EPS = 1e-5


class Captioner(nn.Module):
    """Text embedding to caption. E is `caption_embd`."""

    def __init__(self, sizes: Sizes, *, dropout: float = 0.1) -> None:
        super().__init__()
        width = sizes.caption_embd
        self.sizes = sizes
        self.prefix = nn.Linear(sizes.text_dim, width)
        self.wte = nn.Embedding(GPT2_VOCABULARY, width)
        self.wpe = nn.Embedding(sizes.caption_positions, width)
        self.drop = nn.Dropout(dropout)
        self.h = nn.ModuleList(
            Block(width, sizes.caption_heads, dropout) for _ in range(sizes.caption_layers)
        )
        self.ln_f = nn.LayerNorm(width, eps=EPS)
        self._initialise()

    def embed_prefix(self, text: Tensor) -> Tensor:
        """L2-normalised text `[B, T]` to the prefix `[B, 1, E]`."""
        prefix: Tensor = self.prefix(text)
        return prefix[:, None]

    def embed_ids(self, ids: Tensor) -> Tensor:
        """Token ids, i64 `[B, n]`, to `[B, n, E]`."""
        embeds: Tensor = self.wte(ids)
        return embeds

    def forward(self, text: Tensor, ids: Tensor) -> Tensor:
        """Logits `[B, n, vocabulary]` of each of `ids`, i64 `[B, n]`, from those before it."""
        embeds = torch.cat((self.embed_prefix(text), self.embed_ids(ids[:, :-1])), dim=1)
        hidden, _ = self._run(embeds, self.no_past(embeds))
        return functional.linear(hidden, self.wte.weight)

    def step(self, embeds: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Continues `past` by `embeds` `[B, n, E]`.

        Returns the logits that follow the last of them, `[B, vocabulary]`, and the longer past.
        """
        hidden, present = self._run(embeds, past)
        return functional.linear(hidden[:, -1], self.wte.weight), present

    def no_past(self, embeds: Tensor) -> Tensor:
        """The past before the first step, t = 0."""
        heads, width = self.sizes.caption_heads, self.sizes.caption_embd
        shape = (self.sizes.caption_layers, 2, len(embeds), heads, 0, width // heads)
        return embeds.new_zeros(shape)

    @torch.no_grad()
    def greedy(self, text: Tensor, max_tokens: int) -> list[list[int]]:
        """Appends the most probable next token repeatedly, for L2-normalised text `[B, T]`.

        A caption ends with the stop id, which is part of it, or after `max_tokens`. Ids above
        CLIP's are never chosen.
        """
        embeds = self.embed_prefix(text)
        past = self.no_past(embeds)
        chosen: list[Tensor] = []
        ended = torch.zeros(len(text), dtype=torch.bool, device=text.device)
        while len(chosen) < max_tokens and not bool(ended.all()):
            logits, past = self.step(embeds, past)
            ids = logits[:, : STOP_ID + 1].argmax(dim=-1)
            ended |= ids == STOP_ID
            chosen.append(ids)
            embeds = self.embed_ids(ids[:, None])
        if not chosen:
            return [[] for _ in range(len(text))]
        return [_to_stop(row) for row in torch.stack(chosen, dim=1).tolist()]

    def _run(self, embeds: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states `[B, n, E]` and the longer past."""
        before, n = past.shape[4], embeds.shape[1]
        position = torch.arange(n, device=embeds.device) + before
        x = self.drop(embeds + self.wpe(position))
        ahead = torch.arange(n + before, device=embeds.device) > position[:, None]
        present = []
        for index, block in enumerate(self.h):
            x, kept = block(x, past[index], ahead)
            present.append(kept)
        return self.ln_f(x), torch.stack(present)

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if name.startswith("prefix."):
                continue
            if parameter.dim() == 2:
                # Residual branches start small (Radford et al. 2019, section 2.3).
                residual = name.endswith("c_proj.weight")
                scale = math.sqrt(2 * self.sizes.caption_layers) if residual else 1.0
                nn.init.normal_(parameter, std=INIT_STD / scale)


class Block(nn.Module):
    """Attention, then a perceptron, each applied to a normalised copy and added."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=EPS)
        self.attn = Attention(width, heads, dropout)
        self.ln_2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Perceptron(width, dropout)

    def forward(self, x: Tensor, past: Tensor, ahead: Tensor) -> tuple[Tensor, Tensor]:
        """`x` is `[B, n, E]`, `past` `[2, B, heads, t, E / heads]`, see `Attention`."""
        attended, present = self.attn(self.ln_1(x), past, ahead)
        x = x + attended
        return x + self.mlp(self.ln_2(x)), present


class Attention(nn.Module):
    """Causal attention whose keys and values are appended to a given past."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn = Linear(width, 3 * width)
        self.c_proj = Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.out_dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, past: Tensor, ahead: Tensor) -> tuple[Tensor, Tensor]:
        """`x` is `[B, n, E]`; `ahead` `[n, t + n]` is true where a key is yet to come."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.c_attn(x).chunk(3, dim=-1)
        )
        present = torch.cat((past, torch.stack((key, value))), dim=3)
        key, value = present[0], present[1]
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        weights = scores.masked_fill(ahead, float("-inf")).softmax(dim=-1)
        attended = (self.dropout(weights) @ value).transpose(1, 2).flatten(2)
        return self.out_dropout(self.c_proj(attended)), present


class Perceptron(nn.Module):
    """A perceptron, four times as wide in between, with GPT-2's approximate GELU."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.c_fc = Linear(width, 4 * width)
        self.c_proj = Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, n, E]` to `[B, n, E]`."""
        out: Tensor = self.dropout(self.c_proj(functional.gelu(self.c_fc(x), approximate="tanh")))
        return out


class Linear(nn.Module):
    """A linear layer in GPT-2's layout: `weight` is `[in, out]`."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_width, out_width))
        self.bias = nn.Parameter(torch.zeros(out_width))

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        return x @ self.weight + self.bias


def _to_stop(ids: list[int]) -> list[int]:
    return ids[: ids.index(STOP_ID) + 1] if STOP_ID in ids else ids
