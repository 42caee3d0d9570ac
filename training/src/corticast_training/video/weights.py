"""Weights of a network as one raw file, which any number of graphs can share as external data.

A Linear's weight is stored transposed, `[in, out]`, as a graph's MatMul reads it; otherwise every
session would transpose gigabytes when it starts. Offsets are aligned so that ONNX Runtime can map
the file instead of reading it.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from corticast_training.errors import TrainingError

_PAGE, _SMALL = 4096, 64


@dataclass(frozen=True)
class Stored:
    """Position of one tensor in its file."""

    dtype: str
    """NumPy's name of the stored type."""
    shape: list[int]
    offset: int
    length: int
    transposed: bool


def round_to(network: nn.Module, precision: str, where: str) -> nn.Module:
    """The network in what it will compute in, with the weights it will have.

    Raises `TrainingError` where a weight does not fit into fp16.
    """
    if precision == "fp32":
        return network.float()
    for name, parameter in network.named_parameters():
        if not torch.isfinite(parameter.half()).all():
            raise TrainingError(
                f"{where}: {name} has values up to {float(parameter.abs().max()):g}, "
                "expected at most 65504 for fp16: use --precision fp32"
            )
    network = network.half()
    return network if precision == "fp16" else network.float()


def write_weights(network: nn.Module, path: Path, precision: str) -> dict[str, Stored]:
    """Writes every tensor of the state dict to `path`; returns the position of each."""
    linear = {
        f"{name}.weight"
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
    }
    index: dict[str, Stored] = {}
    with path.open("wb") as file:
        for name, tensor in network.state_dict().items():
            array = tensor.detach().cpu().numpy()
            if precision != "fp32" and array.dtype == np.float32:
                array = array.astype(np.float16)
            if name in linear:
                array = np.ascontiguousarray(array.T)
            align = _PAGE if array.nbytes >= _PAGE else _SMALL
            file.write(b"\0" * (-file.tell() % align))
            index[name] = Stored(
                dtype=array.dtype.name,
                shape=list(array.shape),
                offset=file.tell(),
                length=array.nbytes,
                transposed=name in linear,
            )
            file.write(np.ascontiguousarray(array).tobytes())
    return index


def write_index(index: dict[str, Stored], path: Path) -> None:
    """Writes the index beside the work, for the processes that trace graphs."""
    path.write_text(json.dumps({name: asdict(stored) for name, stored in index.items()}))


def read_index(path: Path) -> dict[str, Stored]:
    """What `write_index` wrote."""
    return {name: Stored(**value) for name, value in json.loads(path.read_text()).items()}
