"""Loads published weights into our networks.

```text
MindEye2's last.pth              backbone and prior
NEURONS' brain_model.pth         ridge, backbone, text projection
NEURONS' brain_model_prior*.pth  all of it
coco_tokens_avg_proj.pth         text projection
GPT-2's model.safetensors        captioner, except its prefix
```

A `.pth` is a pickle, which can run code; only tensors are read from it, and a file with other
objects is refused. Every shape is compared before the first weight is written, so a file that does
not fit leaves the networks unchanged.
"""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from corticast_training.errors import TrainingError
from corticast_training.model.published_names import ours

WRAPPERS = ("model_state_dict", "state_dict", "module", "model")
"""Where training scripts put the weights beside their optimiser's state."""
SHOWN = 8


@dataclass(frozen=True)
class Report:
    """The outcome for the weights of a file."""

    loaded: list[str]
    """Our names of the weights that the file gave."""
    missing: list[str]
    """Our names of the weights it was asked for and does not have: they stay as they were."""
    unexpected: list[str]
    """Its names of weights that none of the given networks has."""
    recomputed: list[str]
    """Its names of tables that are computed here, and of second names of one weight."""

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} weights loaded"]
        for what, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            lines.append(f"{len(names)} {what}{': ' if names else ''}{', '.join(names)}")
        return "\n".join(lines)


def load_published(
    path: Path,
    networks: Mapping[str, nn.Module],
    *,
    subject: str | None = None,
    only: Sequence[str] = (),
) -> Report:
    """Copies the weights of a published file into `networks`: `brain`, `prior`, `decoupler`.

    `subject` takes the ridge of a checkpoint, which was trained on one subject; without it the
    ridge is left out. `only` names parts, such as `decoupler.captioner`, to load nothing else.
    Raises `TrainingError` if the file is not a checkpoint or has other sizes.
    """
    wanted = {
        f"{part}.{name}": tensor
        for part, network in networks.items()
        for name, tensor in network.state_dict().items()
        if not only or any(_inside(f"{part}.{name}", prefix) for prefix in only)
    }
    weights, unexpected, recomputed = {}, [], []
    found: dict[str, str] = {}
    for name, tensor in read_weights(path).items():
        target = ours(name, subject)
        if target == "":
            recomputed.append(name)
        elif target is None or target not in wanted:
            unexpected.append(name)
        elif target in found:
            raise TrainingError(f"{path}: both {found[target]} and {name} are {target}")
        else:
            weights[target], found[target] = tensor, name
    if not weights:
        raise TrainingError(
            f"{path}: none of its {len(unexpected)} weights is known "
            f"({_some(unexpected)}), expected names of MindEye2, NEURONS or GPT-2"
        )
    _check(path, weights, wanted, found)
    for target, tensor in weights.items():
        wanted[target].copy_(tensor)
    return Report(
        loaded=sorted(weights),
        missing=sorted(wanted.keys() - weights.keys()),
        unexpected=sorted(unexpected),
        recomputed=sorted(recomputed),
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` or `.pth` file by their published names."""
    if not path.is_file():
        raise TrainingError(f"{path}: missing, expected a .pth or .safetensors file")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping):
        raise TrainingError(f"{path}: holds a {type(content).__name__}, expected named tensors")
    weights = {}
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise TrainingError(
                f"{path}: {name!r} is a {type(tensor).__name__}, expected tensors only"
            )
        weights[name.removeprefix("module.")] = tensor
    return weights


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise TrainingError(f"{path}: not a safetensors file: {error}") from error


def _read_pickle(path: Path) -> Any:
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:
            # Files older than PyTorch 1.6 do not support memory mapping.
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"{path}: refused, expected tensors and nothing else, since whatever else a .pth "
            f"holds could run code while it is read: {reason}"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "cut off"
        raise TrainingError(f"{path}: not a PyTorch checkpoint: {reason}") from error


def _check(
    path: Path,
    weights: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    found: Mapping[str, str],
) -> None:
    misshapen = [
        f"{found[target]} is {list(tensor.shape)}, expected {list(wanted[target].shape)}"
        for target, tensor in weights.items()
        if tensor.shape != wanted[target].shape
    ]
    if misshapen:
        raise TrainingError(f"{path}: a checkpoint of another size: {_some(misshapen, '; ')}")
    for target, tensor in weights.items():
        if not tensor.is_floating_point():
            raise TrainingError(f"{path}: {found[target]} is {tensor.dtype}, expected floats")
        if not bool(torch.isfinite(tensor).all()):
            raise TrainingError(f"{path}: {found[target]} holds NaN or Inf, expected numbers")


def _inside(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _some(items: Sequence[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return separator.join(items[:SHOWN]) + more
