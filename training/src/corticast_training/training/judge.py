"""How well stage 2 decodes the held-out clips, by the same steps as in a live session.

The prior is sampled, in few steps; the mask is asked for by the key object's class. All noise
is the same in every epoch.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corticast_training.config import Stage2
from corticast_training.training.draws import generator
from corticast_training.training.retrieval import Retrieval
from corticast_training.training.stage2 import Ask
from corticast_training.training.study import FRAME, Study, SubjectBold

SAMPLING_STEPS = 5
METRICS = (
    "token_error",
    "retrieval_top1",
    "concept_top1",
    "mask_iou",
    "caption_accuracy",
    "latent_error",
)
TOKEN_METRICS = METRICS[:2]
"""Those that need none of the four tasks."""
COUNTED = ("retrieval_top1", "concept_top1", "mask_iou", "caption_accuracy")
"""Those between 0 and 1, more is better."""


def judge_subject(
    network: nn.Module,
    study: Study,
    subject: SubjectBold,
    rows: np.ndarray[tuple[int], np.dtype[np.int64]],
    brain_tokens: list[Tensor],
    plan: Stage2,
) -> dict[str, float]:
    """Metrics of windows `rows`, whose brain tokens come in parts `[b, N, C]`."""
    outputs: list[dict[str, Tensor]] = []
    start = 0
    for part, brain in enumerate(brain_tokens):
        clip = subject.clip[rows[start : start + len(brain)]]
        start += len(brain)
        device = brain.device
        noise = generator(plan.seed, "validation", "noise", part).standard_normal(
            tuple(brain.shape), dtype=np.float32
        )
        by_class = np.ones(len(clip), dtype=np.bool_)
        states, length = study.key_states(clip, by_class, plan.text_keys)
        ids = study.caption_ids(clip)
        longest = int((ids != 0).sum(1).max())
        ask = Ask(states.to(device), length.to(device), ids[:, :longest].to(device))
        found = network(brain, torch.from_numpy(noise).to(device), ask, steps=SAMPLING_STEPS)
        outputs.append(_compare(study, clip, {k: v.float().cpu() for k, v in found.items()}))
    whole = {name: torch.cat([own[name] for own in outputs]) for name in outputs[0]}
    image = study.image_tokens(subject.clip[rows], FRAME)
    metrics = {name: float(value.nanmean()) for name, value in whole.items() if name != "x0"}
    metrics["retrieval_top1"] = Retrieval.of(whole["x0"], image).forward
    return {name: metrics[name] for name in METRICS if name in metrics}


def _compare(
    study: Study, clip: np.ndarray[tuple[int], np.dtype[np.int64]], found: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Of each clip `[b]`; NaN where it has nothing to compare with."""
    error = (found["x0"] - study.image_tokens(clip, FRAME)).square().flatten(1).mean(1)
    result = {"x0": found["x0"], "token_error": error}
    if "masks" not in found:
        return result
    missing = torch.tensor(float("nan"))
    labels = study.labels(clip)
    hit = labels.gather(1, found["concepts"].argmax(1, keepdim=True))[:, 0]
    result["concept_top1"] = torch.where(labels.any(1), hit, missing)

    mask, said = study.masks(clip).flatten(1) > 0.5, found["masks"].flatten(1) > 0
    overlap, union = (mask & said).sum(1), (mask | said).sum(1)
    result["mask_iou"] = torch.where(study.has_key(clip) > 0, overlap / union.clamp(min=1), missing)

    ids = study.caption_ids(clip)[:, : found["caption"].shape[1]]
    right = (found["caption"].argmax(2) == ids) & (ids != 0)
    result["caption_accuracy"] = right.sum(1) / (ids != 0).sum(1)
    latents = functional.l1_loss(found["latents"], study.latents(clip), reduction="none")
    result["latent_error"] = latents.flatten(1).mean(1)
    return result
