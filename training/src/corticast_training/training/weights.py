"""Weights and optimiser moments in and out of a network, sharded over devices or not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from corticast_training.errors import TrainingError

# Gathers shards to the first device; on one device, these are the plain state dicts.
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
# Every device reads the file itself, and takes its shards.
GIVEN = StateDictOptions(full_state_dict=True)


def model_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers by name; empty on all devices but the first."""
    state: dict[str, Any] = get_model_state_dict(network, options=WHOLE)
    return state


def optimiser_tensors(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and counters: `<parameter>/<moment>`; empty on all devices but the first."""
    state: dict[str, Any] = get_optimizer_state_dict(network, optimiser, options=WHOLE)
    moments: dict[str, dict[str, Tensor]] = state.get("state", {})
    return {f"{name}/{kind}": value for name, own in moments.items() for kind, value in own.items()}


def set_model(network: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Gives a network its weights; refuses those of another size."""
    check_sizes(tensors, network.state_dict(), where)
    set_model_state_dict(network, dict(tensors), options=GIVEN)


def set_optimiser(
    network: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Gives an optimiser its moments."""
    state: dict[str, Any] = get_optimizer_state_dict(network, optimiser, options=GIVEN)
    for name, own in state["state"].items():
        for kind in own:
            own[kind] = tensors[f"{name}/{kind}"]
    set_optimizer_state_dict(network, optimiser, state, options=GIVEN)


def check_sizes(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: Path) -> None:
    """Raises `TrainingError` where names or shapes of two sets of weights differ."""
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is not of this network" for name in found if name not in expected]
    problems += [
        f"{name} is {list(found[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise TrainingError(
            f"{where}: weights of another network or size: {'; '.join(problems[:5])}{more}"
        )
