"""The devices of a training and how they exchange data, through Lightning Fabric.

Started by itself, a command on several devices starts the other processes; under torchrun or
Slurm it joins those that are there.

Every device knows the whole batch's data and computes a part of it. A contrastive loss needs the
embeddings of all parts: they are gathered without gradient, and each device puts its own, with
gradient, in its place. All devices then see the same loss, and their gradients sum up to that of
one device with the whole batch; no gradient has to travel back through the gathering. Strategies
average gradients over devices, so a loss is multiplied by their number before `backward`.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import Tensor, nn

from corticast_training.choices import TRAINING_PRECISIONS
from corticast_training.errors import TrainingError

# Parameters below this stay together with their parent's.
SHARD_FROM = 1_000_000


@contextmanager
def connected(
    *, devices: int | None, nodes: int | None, strategy: str, precision: str, accelerator: str
) -> Iterator[Fabric]:
    """Starts or joins the processes. Without `devices`, as many as the launcher says, else one."""
    if precision not in TRAINING_PRECISIONS:
        expected = ", ".join(TRAINING_PRECISIONS)
        raise TrainingError(f"precision is {precision!r}, expected one of {expected}")
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise TrainingError("no CUDA device is usable here, expected one: try --accelerator cpu")
    here, there = _launched()
    devices, nodes = devices or here, nodes or there
    if accelerator == "cuda" and devices > torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise TrainingError(f"--devices is {devices}, but {found} CUDA devices are here")
    if precision == "16-mixed" and accelerator == "cpu":
        raise TrainingError("precision 16-mixed needs CUDA, on the CPU: 32-true or bf16-mixed")
    chosen: Any = "auto"
    named: Any = precision
    if strategy == "fsdp":
        chosen = ModelParallelStrategy(
            _shard, data_parallel_size=devices * nodes, tensor_parallel_size=1
        )
    elif devices * nodes > 1:
        chosen = DDPStrategy(forward_sync_buffers=False)
    # On a machine with Slurm, that a training outside of it is one.
    warnings.filterwarnings("ignore", message=".*srun.*")
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=chosen,
        precision=named,
    )
    fabric.launch()
    yield fabric
    # Not where something went wrong: the others may be waiting in the middle of a step.
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        fabric.barrier()
        torch.distributed.destroy_process_group()


def _launched() -> tuple[int, int]:
    """Processes on this node and nodes, as torchrun or srun say."""
    names = (("LOCAL_WORLD_SIZE", "WORLD_SIZE"), ("SLURM_NTASKS_PER_NODE", "SLURM_NTASKS"))
    for local_name, world_name in names:
        local, world = os.environ.get(local_name, ""), os.environ.get(world_name, "")
        if local.isdecimal() and world.isdecimal() and int(local) > 0:
            return int(local), max(1, int(world) // int(local))
    return 1, 1


def _shard(module: nn.Module, mesh: Any) -> nn.Module:
    """FSDP: every block of some size holds its parameters on all devices together."""
    from torch.distributed.fsdp import fully_shard

    for part in module.modules():
        own = sum(parameter.numel() for parameter in part.parameters(recurse=False))
        if part is not module and own >= SHARD_FROM:
            fully_shard(part, mesh=mesh["data_parallel"])
    fully_shard(module, mesh=mesh["data_parallel"])
    return module


def gather(fabric: Fabric, local: Tensor) -> Tensor:
    """`[b, ...]` of every device, one after the other: `[world · b, ...]`, without gradient."""
    local = local.detach()
    if fabric.world_size == 1:
        return local
    whole = local.new_empty(fabric.world_size * len(local), *local.shape[1:])
    torch.distributed.all_gather_into_tensor(whole, local.contiguous())
    return whole


def sum_over_devices(fabric: Fabric, values: Tensor) -> Tensor:
    """The sum of `values` over devices, the same on all of them."""
    if fabric.world_size == 1:
        return values
    total = fabric.all_reduce(values.clone(), reduce_op="sum")
    assert isinstance(total, Tensor), "what is reduced is one tensor"
    return total


def agree(fabric: Fabric, failure: str | None) -> None:
    """Raises on every device what went wrong on the first, so that none waits for ever."""
    failure = fabric.broadcast(failure)
    if failure is not None:
        raise TrainingError(failure)
