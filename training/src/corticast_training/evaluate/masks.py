"""Key-object masks: intersection over union, over all frames of a clip together."""

import numpy as np
from numpy.typing import NDArray


def iou(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    """Masks `[F, m, m]` of one clip; NaN where the clip has no key object."""
    if not true.any():
        return float("nan")
    return float((found & true).sum() / (found | true).sum())


def nearest(mask: NDArray[np.uint8], edge: int) -> NDArray[np.uint8]:
    """Masks `[F, m, m]` on another grid, `[F, edge, edge]`, by nearest neighbour."""
    index = np.arange(edge) * mask.shape[-1] // edge
    return mask[:, index][:, :, index]
