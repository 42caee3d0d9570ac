"""The embedding of a clip by each task of a trained decoupler, one vector per task.

The decoupler gets the image tokens of the *stimulus*, not tokens decoded from BOLD: otherwise a
voxel would be explained by values that were decoded from that same voxel. Each embedding is the
input of the task's last layer:

- segmentation: the video decoder's maps for the clip's key object, averaged over frames and
  pooled to a 4x4 grid; zero if a clip has no key object;
- concepts: the mean token after the first linear layer, `[T]`;
- description: the captioner's hidden states, averaged over the tokens of the clip's caption;
- reconstruction: the video decoder's maps for the clip's text, as for segmentation.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from corticast_training.errors import TrainingError
from corticast_training.interpret import TASKS
from corticast_training.model.decoupler import Decoupler
from corticast_training.model.text import TextProjection
from corticast_training.progress import progress
from corticast_training.targets.store import Targets

GRID = 4
BATCH = 32

Embeddings = dict[str, NDArray[np.float32]]
"""Task → `[n, D]`, D its own."""


@torch.no_grad()
def task_embeddings(
    decoupler: Decoupler, targets: Targets, split: str, rows: NDArray[np.int64]
) -> Embeddings:
    """Embeddings of the clips `rows` of a split, in that order."""
    decoupler.eval()
    project = TextProjection(torch.from_numpy(np.array(targets.projection)))
    clips = targets.split(split)
    parts: dict[str, list[Tensor]] = {task: [] for task in TASKS}
    starts = range(0, len(rows), BATCH)
    for start in progress(starts, len(starts), "task embeddings"):
        pick = rows[start : start + BATCH]
        frames = torch.from_numpy(clips.image_tokens[pick].astype(np.float32))
        name = torch.from_numpy(np.array(clips.key_name[pick]))
        ids = torch.from_numpy(np.array(clips.caption_ids[pick]))
        known = name.clamp_min(0).numpy()
        states = torch.from_numpy(np.array(targets.states[known]))
        length = torch.from_numpy(np.array(targets.length[known]))
        if decoupler.regions.text_keys == "batch":
            states = torch.from_numpy(np.array(targets.pooled[known]))[:, None]
            length = torch.ones_like(length)
        text = project(frames)

        with _input_of(decoupler.regions.seg_head) as seen:
            decoupler.objects(frames, states, length)
        maps = _pooled(seen[0], len(pick))
        parts["segmentation"].append(torch.where(name[:, None] >= 0, maps, 0.0))
        with _input_of(decoupler.concepts.classifier) as seen:
            decoupler.concepts(frames)
        parts["concepts"].append(seen[0])
        with _output_of(decoupler.captioner.ln_f) as seen:
            decoupler.caption_logits(functional.normalize(text, dim=-1), ids)
        real = (ids != 0).float()[..., None]
        parts["description"].append((seen[0] * real).sum(1) / real.sum(1).clamp_min(1))
        with _input_of(decoupler.regions.recon_head) as seen:
            decoupler.reconstruct(frames, text)
        parts["reconstruction"].append(_pooled(seen[0], len(pick)))
    found = {task: torch.cat(values).numpy() for task, values in parts.items()}
    for task, values in found.items():
        if not np.isfinite(values).all():
            raise TrainingError(f"the {task} embedding holds NaN or Inf: is the model trained?")
    return found


def standardised(embeddings: Embeddings, fit: NDArray[np.int64]) -> Embeddings:
    """Each column to mean 0 and variance 1 / D over the rows `fit`; constant columns to 0.

    1 / D makes the tasks comparable, however wide their embeddings.
    """
    found = {}
    for task, values in embeddings.items():
        mean, spread = values[fit].mean(0), values[fit].std(0)
        alive = spread > 1e-6 * max(float(spread.max()), 1e-12)
        scaled = np.where(alive, (values - mean) / np.where(alive, spread, 1.0), 0.0)
        found[task] = (scaled / np.sqrt(max(int(alive.sum()), 1))).astype(np.float32)
    return found


def _pooled(maps: Tensor, n_clip: int) -> Tensor:
    """`[B·F, c, m, m]` to `[B, c·16]`."""
    mean = torch.unflatten(maps, 0, (n_clip, -1)).mean(1)
    return functional.adaptive_avg_pool2d(mean, min(GRID, mean.shape[-1])).flatten(1)


@contextmanager
def _input_of(module: nn.Module) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def _output_of(module: nn.Module) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()
