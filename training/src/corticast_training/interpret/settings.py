"""How the network that maps tasks to voxels is trained. Needs the standard library only."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the network is trained. Small data want a larger learning rate than the default."""

    width: int = 64
    """Of the projected embeddings."""
    epochs: int = 50
    batch: int = 32
    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    seed: int = 0
