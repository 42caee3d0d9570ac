"""Each subject's input to the shared backbone: one linear map from its voxels.

Subjects have different voxels and different numbers of them. Everything that is specific to a
subject is here; the rest of the network is shared. The ridge penalty is the optimiser's weight
decay.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from corticast_training.errors import TrainingError


class Ridge(nn.Module):
    """One `Linear(V → H)` per subject, applied to each volume of a window."""

    def __init__(self, n_voxel: Mapping[str, int], hidden: int) -> None:
        super().__init__()
        self.linears = nn.ModuleDict(
            {key(subject): nn.Linear(count, hidden) for subject, count in n_voxel.items()}
        )

    def forward(self, bold: Tensor, subject: str) -> Tensor:
        """Normalised BOLD `[B, S, V]` of one subject to `[B, S, H]`."""
        if key(subject) not in self.linears:
            raise TrainingError(
                f"subject {subject!r} is not in the model, expected one of "
                f"{', '.join(self.subjects)}"
            )
        mapped: Tensor = self.linears[key(subject)](bold)
        return mapped

    @property
    def subjects(self) -> list[str]:
        """Subjects that the model knows, in the order they were given."""
        return [name.removeprefix("sub-") for name in self.linears]


def key(subject: str) -> str:
    """The name of a subject's map among the weights: as in BIDS, `sub-01`."""
    return f"sub-{subject}"
