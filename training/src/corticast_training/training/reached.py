"""The progress of a training, as stored in a checkpoint."""

from dataclasses import dataclass, field


@dataclass
class Reached:
    """Where a training stands."""

    step: int = 0
    """Optimiser steps done."""
    best: list[float] | None = None
    best_epoch: int = -1
    best_metrics: dict[str, float] = field(default_factory=dict)
    waited: int = 0
    """Epochs since the best one."""
    finished: bool = False
