"""A voxel's BOLD from four task embeddings, with a learned softmax over tasks per voxel.

bold_v = Σ_k softmax(w_v)_k · <r_v, P_k e_k>

After the idea of BrainNet (Yang et al., BrainDecodesDeepNets, 2024), but simpler: no
image backbone, no layer or scale selection, one linear projection P_k per task and one linear
readout r_v per voxel.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corticast_training.errors import TrainingError
from corticast_training.interpret import TASKS
from corticast_training.interpret.embeddings import Embeddings
from corticast_training.interpret.settings import Settings
from corticast_training.progress import progress

Array = NDArray[np.float32]


class TaskReadout(nn.Module):
    """See the module's docs. V voxels, tasks in the order of `TASKS`."""

    def __init__(self, widths: Mapping[str, int], n_voxel: int, width: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Linear(widths[task], width, bias=False) for task in TASKS)
        self.readout = nn.Parameter(torch.randn(n_voxel, width) / width**0.5)
        self.choice = nn.Parameter(torch.zeros(n_voxel, len(TASKS)))

    def forward(self, embeddings: list[Tensor]) -> Tensor:
        """Embeddings `[B, D_k]`, one per task, to BOLD `[B, V]`."""
        read = [
            project(one) @ self.readout.T
            for project, one in zip(self.project, embeddings, strict=True)
        ]
        return torch.einsum("kbv,vk->bv", torch.stack(read), self.weights())

    def weights(self) -> Tensor:
        """Softmax over tasks, `[V, 4]`."""
        return self.choice.softmax(dim=-1)


@dataclass(frozen=True)
class Fitted:
    """The outcome of the network's training."""

    weights: Array
    """`[V, 4]`, each row sums to 1."""
    correlation: Array
    """`[V]`: predicted with measured BOLD over the validation clips; 0 where either is flat."""
    loss: list[tuple[float, float]]
    """Mean squared error of training and validation clips after each epoch; variance is 1."""


def fit_network(
    embeddings: Embeddings,
    bold: Array,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    settings: Settings,
) -> Fitted:
    """Trains on the rows `train` of standardised embeddings and BOLD `[n, V]`."""
    torch.manual_seed(settings.seed)
    rng = torch.Generator().manual_seed(settings.seed)
    inputs = [torch.from_numpy(embeddings[task]) for task in TASKS]
    truth = torch.from_numpy(bold)
    widths = {task: embeddings[task].shape[1] for task in TASKS}
    network = TaskReadout(widths, bold.shape[1], settings.width)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    loss = []
    for _ in progress(range(settings.epochs), settings.epochs, "task readout"):
        order = torch.from_numpy(train)[torch.randperm(len(train), generator=rng)]
        for pick in torch.split(order, settings.batch):
            error = ((network([one[pick] for one in inputs]) - truth[pick]) ** 2).mean()
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
        with torch.no_grad():
            found = network(inputs)
        if not torch.isfinite(found).all():
            raise TrainingError(
                f"the task readout diverged at a learning rate of {settings.learning_rate:g}: "
                "expected a smaller --learning-rate"
            )
        square = (found - truth).square().mean(1).numpy()
        loss.append((float(square[train].mean()), float(square[validation].mean())))
    return Fitted(
        weights=network.weights().detach().numpy(),
        correlation=correlation(found.numpy()[validation], bold[validation]),
        loss=loss,
    )


def correlation(found: Array, truth: Array) -> Array:
    """Pearson's correlation per column, `[n, V]` each; 0 if a column is constant."""
    a = found - found.mean(0)
    b = truth - truth.mean(0)
    scale = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    flat = scale < 1e-12
    result: Array = np.where(flat, 0.0, (a * b).sum(0) / np.where(flat, 1.0, scale))
    return result.astype(np.float32)
