"""Progressive learning: each of the four tasks has a period in which its weight is up to 10.

wᵢ = 1 + 9·|sin(πx)| inside task i's period and 1 outside, x the fraction of the period that has
passed. A period is 2·⌊epochs/5⌋ epochs long and begins half a period after the one before it.
"""

import math

TASKS = ("segmentation", "concepts", "caption", "reconstruction")
"""In the order in which their periods begin."""


def weights(epoch: int, epochs: int) -> dict[str, float]:
    """Weight of each task in `epoch` (0-based) of `epochs`."""
    period = 2 * (epochs // 5)
    found = {}
    for index, task in enumerate(TASKS):
        passed = epoch - index * period / 2
        inside = 0 <= passed < period
        found[task] = 1 + 9 * abs(math.sin(math.pi * passed / period)) if inside else 1.0
    return found
