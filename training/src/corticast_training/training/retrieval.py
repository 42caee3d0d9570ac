"""Retrieval among the held-out clips: an early measure while a network trains."""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from corticast_training.loss.contrastive import unit_rows


class Retrieval(NamedTuple):
    """Share of clips whose own partner is the nearest of all."""

    forward: float
    """Of a decoded embedding, its picture."""
    backward: float
    """Of a picture, the embedding decoded from it."""

    @classmethod
    def of(cls, decoded: Tensor, image: Tensor) -> Self:
        """Compares by cosine; `[n, ...]` each. Ties count as misses."""
        scores = unit_rows(decoded) @ unit_rows(image).T
        return cls(_nearest(scores), _nearest(scores.T))


def _nearest(scores: Tensor) -> float:
    own = scores.diagonal()
    others = scores.masked_fill(torch.eye(len(scores), dtype=torch.bool, device=scores.device), -2)
    return float((own > others.amax(1)).float().mean())
