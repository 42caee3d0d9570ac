"""The interface of a stage to the loop: batches, forward pass, losses, validation."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from corticast_training.config import Schedule
from corticast_training.training.batches import Batch, Batches


@dataclass(frozen=True)
class Term:
    """One loss of a step."""

    value: Tensor
    """Scalar f32. Shared: of the whole batch. Else: the part's share, which sum up to it."""
    weight: float
    shared: bool
    """Whether it compares samples of the whole batch, as contrastive losses do."""


class Task(ABC):
    """One stage of the training. Shapes: B samples of the whole batch, b of one part."""

    name: str
    """Of the stage: in draws, messages and files."""
    schedule: Schedule
    network: nn.Module
    """What is trained, and what `model.safetensors` holds."""
    batches: Batches
    terms: tuple[str, ...]
    """Names of the losses."""
    metrics: tuple[str, ...]
    """Names of what `validate` finds."""
    has_validation: bool

    @abstractmethod
    def forward(self, network: nn.Module, batch: Batch, rows: Tensor) -> dict[str, Tensor]:
        """Passes samples `rows` `[b]` of the batch through the network: outputs `[b, ...]`."""

    @property
    @abstractmethod
    def shared(self) -> tuple[str, ...]:
        """Outputs that losses compare over the whole batch."""

    @abstractmethod
    def losses(
        self, batch: Batch, rows: Tensor, outputs: dict[str, Tensor], everyone: dict[str, Tensor]
    ) -> dict[str, Term]:
        """All losses of samples `rows`; `everyone` has shared outputs `[B, ...]`."""

    @abstractmethod
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Judges the network on the clips that were held out."""

    @abstractmethod
    def score(self, metrics: dict[str, float]) -> tuple[float, ...]:
        """What the best weights are chosen by; greater is better, first value first."""

    def place(self, device: torch.device) -> None:
        """Moves whatever the stage uses beside `network` to its device."""
        self.device = device
