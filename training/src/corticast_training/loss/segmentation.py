"""Losses of key-object masks, one value per clip, so clips without a key object can be left out.

The supplement names binary cross-entropy (eq. 8), the public code uses Dice.
"""

from torch import Tensor
from torch.nn import functional

SMOOTH = 1e-7
LOSSES = ("bce", "dice")


def bce(logits: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy, mean over frames and pixels: two `[B, ...]` → `[B]`."""
    loss = functional.binary_cross_entropy_with_logits(
        logits.float(), mask.float(), reduction="none"
    )
    return loss.flatten(1).mean(1)


def dice(logits: Tensor, mask: Tensor) -> Tensor:
    """1 - Dice overlap over all frames of a clip, smoothed by 1e-7: two `[B, ...]` → `[B]`."""
    found, truth = logits.float().sigmoid().flatten(1), mask.float().flatten(1)
    overlap = 2 * (found * truth).sum(1) + SMOOTH
    return 1 - overlap / (found.sum(1) + truth.sum(1) + SMOOTH)
