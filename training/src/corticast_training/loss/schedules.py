"""Values that change during a training."""

import math


def cosine_anneal(start: float, end: float, epoch: int, epochs: int) -> float:
    """`start` in the first epoch, `end` in the last, along half a cosine in between."""
    passed = epoch / (epochs - 1) if epochs > 1 else 0.0
    return end + (start - end) * (1 + math.cos(math.pi * passed)) / 2
