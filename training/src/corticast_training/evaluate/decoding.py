"""How often a decoder names the right class: per TR, per block, per class.

Per TR, every window in a block counts on its own. Per block, the class with the highest mean
probability over the block's windows counts: a participant would see it as feedback at the end
of the block.

Chance is what a decoder reaches that always names the most frequent class. With one block of a
class for nine of another that is .9, so accuracy alone says little; the balanced accuracy, the mean
over the classes, is then 1/n for any such decoder.
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
    chance_per_tr: float
    """Share of the windows that belong to the most frequent class."""
    chance_per_block: float
    """Share of the blocks that belong to the most frequent class."""

    @property
    def balanced(self) -> float:
        """Mean of `per_class`, over the classes that have windows."""
        return float(np.nanmean(self.per_class))


def accuracy(
    probabilities: NDArray[np.float64], label: NDArray[np.int64], block: NDArray[np.int64]
) -> Accuracy:
    """Scores `probabilities` `[n, n_class]` against `label` `[n]`; `block` `[n]` numbers blocks."""
    right = probabilities.argmax(axis=1) == label
    blocks, first = np.unique(block, return_index=True)
    right_block = [
        probabilities[block == b].mean(axis=0).argmax() == label[block == b][0] for b in blocks
    ]
    n_class = probabilities.shape[1]
    return Accuracy(
        per_tr=float(right.mean()),
        per_block=float(np.mean(right_block)),
        n_tr=len(label),
        n_block=len(blocks),
        per_class=np.array(
            [right[label == k].mean() if (label == k).any() else np.nan for k in range(n_class)]
        ),
        chance_per_tr=float(np.bincount(label).max() / len(label)),
        chance_per_block=float(np.bincount(label[first]).max() / len(blocks)),
    )


def table(found: Accuracy, classes: Sequence[str], label: NDArray[np.int64]) -> str:
    """The accuracy as a table for the terminal."""
    width = max(len("per block"), *(len(name) for name in classes))
    lines = [f"{'class':<{width}}  accuracy  windows"]
    for k, name in enumerate(classes):
        lines.append(f"{name:<{width}}  {found.per_class[k]:8.3f}  {int((label == k).sum()):7d}")
    for name, value, chance, count in (
        ("per TR", found.per_tr, found.chance_per_tr, f"{found.n_tr:7d}"),
        ("per block", found.per_block, found.chance_per_block, f"{found.n_block:7d} blocks"),
        ("balanced", found.balanced, 1 / len(classes), f"{len(classes):7d} classes, per TR"),
    ):
        lines.append(f"{name:<{width}}  {value:8.3f}  {count}, chance {chance:.3f}")
    return "\n".join(lines)


def warnings_of(found: Accuracy, classes: Sequence[str]) -> list[str]:
    """What the figures hide from a reader who sees only the accuracy."""
    never = [name for name, right in zip(classes, found.per_class, strict=True) if right == 0]
    warnings = [f"class {name!r} is never right" for name in never]
    if found.per_tr <= found.chance_per_tr:
        warnings.append(
            "the decoder is no better than one that always names the most frequent class "
            f"({found.chance_per_tr:.3f})"
        )
    return warnings
