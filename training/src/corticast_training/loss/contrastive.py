"""Contrastive losses between brain and image (or text) embeddings of a batch.

Rows of both matrices belong to the same samples in the same order. All losses work in both
directions (brain → image and image → brain) and are means over the batch. Embeddings are taken as
the networks output them; they are flattened and L2-normalised here.
"""

import torch
from torch import Tensor
from torch.nn import functional


def unit_rows(embedding: Tensor) -> Tensor:
    """`[B, ...]` → `[B, D]`: flattened, each row of length 1, in single precision."""
    return functional.normalize(embedding.flatten(1).float(), dim=-1)


def cross_entropy_both_ways(scores: Tensor, target: Tensor) -> Tensor:
    """½[-mean Σ P·log_softmax(S) - mean Σ Pᵀ·log_softmax(Sᵀ)] for scores and targets `[B, B]`."""
    forward = -(target * scores.log_softmax(-1)).sum(-1).mean()
    backward = -(target.T * scores.T.log_softmax(-1)).sum(-1).mean()
    return (forward + backward) / 2


def info_nce(brain: Tensor, image: Tensor, temperature: float) -> Tensor:
    """The plain bidirectional contrastive loss: each row has one right answer."""
    scores = unit_rows(brain) @ unit_rows(image).T / temperature
    return cross_entropy_both_ways(scores, torch.eye(len(scores), device=scores.device))


def bimixco(
    brain: Tensor, image: Tensor, temperature: float, share: Tensor, partner: Tensor
) -> Tensor:
    """BiMixCo (supplement, eq. 5): sample i is `share[i]` itself, the rest `partner[i]`.

    `share` `[B]` is λ, `partner` `[B]` the permutation the BOLD was mixed with. 1-λ is added at
    the partner, so that a sample that is its own partner keeps weight 1; the public code
    overwrites there.
    """
    scores = unit_rows(brain) @ unit_rows(image).T / temperature
    share = share.to(scores)
    rows = torch.arange(len(scores), device=scores.device)
    target = torch.diag(share)
    target = target.index_put((rows, partner.to(rows)), 1 - share, accumulate=True)
    return cross_entropy_both_ways(scores, target)


def soft_clip(brain: Tensor, image: Tensor, temperature: float) -> Tensor:
    """SoftCLIP (MindEye2): the targets are the images' similarities to each other.

    The targets get no gradient.
    """
    teacher = unit_rows(image)
    scores = unit_rows(brain) @ teacher.T / temperature
    target = (teacher @ teacher.T / temperature).softmax(-1).detach()
    forward = -(target * scores.log_softmax(-1)).sum(-1).mean()
    # Row i of the targets has the similarities of image i to the others, in both directions.
    backward = -(target * scores.T.log_softmax(-1)).sum(-1).mean()
    return (forward + backward) / 2
