"""How often a decoder names the right class: per TR, per block, per class.

Per TR, every window in a block counts on its own. Per block, the class with the highest mean
probability over the block's windows counts: a participant would see it as feedback at the end
of the block.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Accuracy:
    """Fractions of correct answers, 0 to 1."""

    per_tr: float
    per_block: float
    n_tr: int
    n_block: int
    per_class: NDArray[np.float64]
    """Per TR, for windows of each class. Shape `[n_class]`."""


def accuracy(
    probabilities: NDArray[np.float64], label: NDArray[np.int64], block: NDArray[np.int64]
) -> Accuracy:
    """Scores `probabilities` `[n, n_class]` against `label` `[n]`; `block` `[n]` numbers blocks."""
    right = probabilities.argmax(axis=1) == label
    blocks = np.unique(block)
    right_block = [
        probabilities[block == b].mean(axis=0).argmax() == label[block == b][0] for b in blocks
    ]
    n_class = probabilities.shape[1]
    return Accuracy(
        per_tr=float(right.mean()),
        per_block=float(np.mean(right_block)),
        n_tr=len(label),
        n_block=len(blocks),
        per_class=np.array([right[label == k].mean() for k in range(n_class)]),
    )


def table(found: Accuracy, classes: Sequence[str], label: NDArray[np.int64]) -> str:
    """The accuracy as a table for the terminal."""
    width = max(len("per block"), *(len(name) for name in classes))
    lines = [f"{'class':<{width}}  accuracy  windows"]
    for k, name in enumerate(classes):
        lines.append(f"{name:<{width}}  {found.per_class[k]:8.3f}  {int((label == k).sum()):7d}")
    lines.append(f"{'per TR':<{width}}  {found.per_tr:8.3f}  {found.n_tr:7d}")
    lines.append(f"{'per block':<{width}}  {found.per_block:8.3f}  {found.n_block:7d} blocks")
    lines.append(f"{'chance':<{width}}  {1 / len(classes):8.3f}")
    return "\n".join(lines)
