"""The memory that a training or an export will take, estimated before it starts.

The networks are built and run once as shapes without contents, which costs neither memory nor
time at any size. The tensors that the backward pass would keep are counted one by one.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional

from corticast_training.config import Sizes
from corticast_training.errors import TrainingError
from corticast_training.model.brain import BrainModel
from corticast_training.model.decoupler import Decoupler
from corticast_training.model.prior import Prior
from corticast_training.model.ridge import key

STAGES = ("brain", "decoupler")
OBJECT_STATES = 8
"""Token states of a key object's name, about."""
EXPORT_COPIES = 2.5
"""The weights themselves, the graph that is written, and ONNX Runtime's while it is checked."""
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryEstimate:
    """Parameters, and bytes on each device."""

    n_parameter: dict[str, int]
    """Of each network: `brain`, and in stage 2 `prior` and `decoupler`."""
    weights: int
    gradients: int
    optimiser: int
    """AdamW's two moments."""
    activations: int
    """What the forward pass keeps for the backward pass, for one part of a batch."""

    @property
    def training(self) -> int:
        """The total of a training."""
        return self.weights + self.gradients + self.optimiser + self.activations

    @property
    def export(self) -> int:
        """Memory for exporting the largest network in a process of its own."""
        return int(EXPORT_COPIES * 4 * max(self.n_parameter.values()))

    def __str__(self) -> str:
        return (
            f"about {gigabytes(self.training)}: weights {gigabytes(self.weights)}, "
            f"gradients {gigabytes(self.gradients)}, optimiser {gigabytes(self.optimiser)}, "
            f"activations {gigabytes(self.activations)}"
        )


def estimate(
    sizes: Sizes,
    n_voxel: Mapping[str, int],
    window_volumes: int,
    *,
    stage: str,
    batch: int,
    precision: str = "32-true",
    n_shard: int = 1,
) -> MemoryEstimate:
    """Memory of one stage, `brain` or `decoupler`, with `batch` samples at a time on a device.

    `precision` is Lightning Fabric's; weights stay f32. `n_shard` devices share weights,
    gradients and optimiser (FSDP); 1 where each has its own.
    """
    mixed = precision.endswith("-mixed")
    with FakeTensorMode():
        projection = torch.empty(sizes.channels, sizes.text_dim)
        brain = BrainModel(sizes, n_voxel, window_volumes, projection)
        networks: dict[str, nn.Module] = {"brain": brain}
        if stage == "decoupler":
            brain.requires_grad_(False)
            networks |= {"prior": Prior(sizes), "decoupler": Decoupler(sizes)}
        own = [t for net in networks.values() for t in (*net.parameters(), *net.buffers())]
        with _kept(own) as kept, torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            _forward(sizes, networks, next(iter(n_voxel)), batch)
        activations = sum(_bytes(tensor) for tensor in kept)
        trained = [t for t in own if t.requires_grad]
    return MemoryEstimate(
        n_parameter={
            name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()
        },
        weights=sum(map(_bytes, own)) // n_shard,
        gradients=sum(map(_bytes, trained)) // n_shard,
        optimiser=2 * sum(map(_bytes, trained)) // n_shard,
        activations=activations,
    )


def check_memory(needed: int, device: torch.device, what: str = "this") -> None:
    """Raises `TrainingError` unless `needed` bytes are free on the device."""
    free = free_memory(device)
    if free is not None and needed > free:
        raise TrainingError(
            f"not enough memory: {what} takes about {gigabytes(needed)}, "
            f"{gigabytes(free)} are free on {device}; expected a smaller batch (`accumulate`), "
            "smaller sizes, or more devices"
        )


def free_memory(device: torch.device) -> int | None:
    """Free bytes of a device, None if the system does not report them."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    limits = [bytes_ for bytes_ in (_available(), _left_in_cgroup()) if bytes_ is not None]
    return min(limits, default=None)


def gigabytes(n_byte: int) -> str:
    """For messages: `1.5 GB`."""
    return f"{n_byte / 1e9:.1f} GB" if n_byte >= 1e9 else f"{n_byte / 1e6:.1f} MB"


def _forward(sizes: Sizes, networks: Mapping[str, nn.Module], subject: str, batch: int) -> None:
    """The computation of a training step, up to its losses."""
    brain = networks["brain"]
    assert isinstance(brain, BrainModel)
    first = brain.ridge.linears[key(subject)]
    assert isinstance(first, nn.Linear)
    volumes = brain.backbone.backbone_linear.in_features // sizes.hidden
    bold = torch.empty(batch, volumes, first.in_features)
    out = brain(bold, subject)
    if len(networks) == 1:
        functional.normalize(out.tokens.flatten(1), dim=-1).sum()
        return
    prior, decoupler = networks["prior"], networks["decoupler"]
    assert isinstance(decoupler, Decoupler)
    timestep = torch.zeros(batch, dtype=torch.int64)
    frames = decoupler.motion(prior(torch.empty_like(out.tokens), timestep, out.tokens))
    functional.normalize(frames.flatten(2), dim=-1).sum()
    decoupler.concepts(frames).sum()
    decoupler.objects(frames, torch.empty(batch, OBJECT_STATES, sizes.text_dim)).sigmoid().sum()
    decoupler.reconstruct(frames, out.text).abs().sum()
    ids = torch.zeros(batch, sizes.caption_tokens, dtype=torch.int64)
    logits = decoupler.caption_logits(brain.text(frames), ids)
    functional.cross_entropy(logits.flatten(0, 1).float(), ids.flatten())


@contextmanager
def _kept(own: list[Tensor]) -> Iterator[list[Tensor]]:
    """Collects the tensors that autograd saves meanwhile, except `own`, each storage once."""
    seen = {tensor.untyped_storage()._cdata for tensor in own}
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in seen:
            seen.add(storage)
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


def _bytes(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def _available() -> int | None:
    if MEMINFO.is_file():
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _left_in_cgroup() -> int | None:
    """Memory that a container may still use. Files that it only caches do not count as used."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    return max(int(limit) - used + int(stat.get("inactive_file", 0)), 0)
