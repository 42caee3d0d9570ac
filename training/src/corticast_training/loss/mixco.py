"""MixCo: half of the samples are blended with another sample, and the loss takes the shares."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Mix:
    """How the samples of one batch are blended."""

    share: Tensor
    """λ `[B]` f32: how much of sample i is itself; 1 where it is not blended."""
    partner: Tensor
    """Permutation `[B]` i64: what sample i is blended with."""

    @classmethod
    def draw(cls, rng: np.random.Generator, group_sizes: list[int], beta: float) -> Self:
        """λ ~ Beta(`beta`, `beta`) on a random half; partners come from the same group.

        A group is the samples of one subject: voxels of two brains must not be blended.
        With `beta` 0 nothing is blended.
        """
        n = sum(group_sizes)
        partner, start = [], 0
        for size in group_sizes:
            partner.append(start + rng.permutation(size))
            start += size
        blended = rng.permutation(n) < (n + 1) // 2
        drawn = rng.beta(beta, beta, size=n) if beta > 0 else np.ones(n)
        share = np.where(blended, drawn, 1.0).astype(np.float32)
        return cls(torch.from_numpy(share), torch.from_numpy(np.concatenate(partner)))

    def apply(self, bold: Tensor, partner_bold: Tensor, rows: Tensor) -> Tensor:
        """`λx + (1-λ)x_partner` for samples `rows` of the batch; BOLD is `[len(rows), S, V]`."""
        share = self.share[rows].to(bold)[:, None, None]
        return share * bold + (1 - share) * partner_bold
