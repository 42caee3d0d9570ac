"""One graph to be exported: a network, its inputs and outputs, and the lengths for its check."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from corticast_training.export.border import Border

Make = Callable[[tuple[int, ...], torch.Generator], Tensor]


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Unit normal values, the default for inputs."""
    return torch.randn(shape, generator=generator)


@dataclass(frozen=True)
class Graph:
    """A network from tensors to tensors, on the CPU, in evaluation mode."""

    role: str
    network: nn.Module
    inputs: tuple[Border, ...]
    outputs: tuple[Border, ...]
    lengths: tuple[Mapping[str, int], ...]
    """Lengths of the dynamic axes: traced at the first, checked at all."""
    makers: Mapping[str, Make] = field(default_factory=dict)
    """How inputs are made that are not just normal values."""
    shared: Mapping[str, str] = field(default_factory=dict)
    """Weights that lie in a file of their own, which other graphs read too: name → its key."""
    classes: tuple[str, ...] = ()

    def example(self, lengths: Mapping[str, int], seed: int) -> tuple[Tensor, ...]:
        """Random inputs of these lengths."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(
            self.makers.get(border.name, normal)(border.sizes(lengths), generator)
            for border in self.inputs
        )

    def run(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """PyTorch's outputs for these inputs."""
        with torch.no_grad():
            found = self.network(*inputs)
        return found if isinstance(found, tuple) else (found,)
