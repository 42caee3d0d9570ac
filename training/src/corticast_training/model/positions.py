"""Tables of positions and times for the prior's transformer, made once."""

import math

import torch
from torch import Tensor

MAX_DISTANCE = 128
ROTATED = 32
"""Channels of a head that are rotated, at most."""
BASE = 10000.0


def relative_buckets(n_query: int, n_key: int, n_bucket: int) -> Tensor:
    """T5's causal buckets of `query - key`, i64 `[n_query, n_key]`.

    Each distance below half the number of buckets has a bucket of its own. Larger distances share
    buckets on a logarithmic scale up to 128. Keys ahead of the query are all in bucket 0.
    """
    distance = (torch.arange(n_query)[:, None] - torch.arange(n_key)).clamp(min=0)
    exact = n_bucket // 2
    ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(MAX_DISTANCE / exact)
    large = exact + (ratio * (n_bucket - exact)).long()
    return torch.where(distance < exact, distance, large.clamp(max=n_bucket - 1))


def rotary_frequencies(dim_head: int) -> Tensor:
    """Radians per position for each pair of rotated channels, f32 `[rotated / 2]`."""
    rotated = min(ROTATED, dim_head)
    return 1.0 / BASE ** (torch.arange(0, rotated, 2).float() / rotated)


def rotary_angles(length: int, dim_head: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each position's angles, each frequency twice, `[length, rotated]`."""
    angles = torch.arange(length)[:, None] * rotary_frequencies(dim_head)
    angles = angles.repeat_interleave(2, dim=-1)
    return angles.cos(), angles.sin()


def sinusoids(n_step: int, channels: int) -> Tensor:
    """Sines, then cosines, of each step at `channels / 2` frequencies, `[n_step, channels]`."""
    half = channels // 2
    frequency = torch.exp(torch.arange(half) * -(math.log(BASE) / (half - 1)))
    angles = torch.arange(n_step)[:, None] * frequency
    return torch.cat((angles.sin(), angles.cos()), dim=-1)
