"""The results of a repeat that contain a tensor, and these tensors."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corticast_training.evaluate.join import Repeat


def holding(repeat: Repeat, *names: str) -> Repeat | None:
    """The results of a repeat that contain all of `names`; `None` if no result does."""
    held = [set(names) <= set(result.tensor_names()) for result in repeat.results]
    if not any(held):
        return None
    results = [result for result, holds in zip(repeat.results, held, strict=True) if holds]
    return Repeat(repeat.name, repeat.clip[np.array(held)], results)


def stacked(repeat: Repeat, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """One tensor of every result, `[n, *shape]`."""
    return np.stack([result.tensor(name, shape) for result in repeat.results])
