"""Low-rank adapters added into the weights they adapt: W += scale · (α / r) · up · down.

Three spellings of their keys are in use, and all are read: AnimateDiff's and old diffusers'
(`….attn1.processor.to_q_lora.down.weight`), PEFT's (`….attn1.to_q.lora_A.weight`) and the one of
the usual training scripts (`lora_unet_…_attn1_to_q.lora_down.weight` with `.alpha`).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from corticast_training.errors import TrainingError

_KINDS = {
    "down": re.compile(r"(?:_lora\.down|\.lora\.down|\.lora_down|\.lora_A)(?:\.default)?\.weight$"),
    "up": re.compile(r"(?:_lora\.up|\.lora\.up|\.lora_up|\.lora_B)(?:\.default)?\.weight$"),
    "alpha": re.compile(r"\.alpha$"),
}
_PREFIXES = ("base_model.model.", "module.", "unet.")
_FLAT_PREFIX = "lora_unet_"
_TEXT_PREFIXES = ("lora_te_", "text_encoder.")


@dataclass(frozen=True)
class Fused:
    """What adding an adapter changed."""

    layers: list[str]
    """Paths of the modules whose weight changed, sorted."""
    text_keys: int
    """Keys for the text encoder: left out, because this stage does not adapt it."""


def read_lora(path: Path) -> dict[str, Tensor]:
    """Tensors of a `.safetensors`, or of a pickled file read with `weights_only`."""
    if not path.is_file():
        raise TrainingError(f"{path}: missing, expected a LoRA as .safetensors, .ckpt or .pt")
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
            found = found.get("state_dict", found)
    except (SafetensorError, OSError, RuntimeError, ValueError, AttributeError) as error:
        raise TrainingError(f"{path}: cannot be read as a LoRA: {error}") from error
    except Exception as error:  # pickle's errors have no common base
        raise TrainingError(f"{path}: not a file of tensors: {error}") from error
    return {key: value for key, value in found.items() if isinstance(value, Tensor)}


@torch.no_grad()
def fuse_lora(network: nn.Module, tensors: dict[str, Tensor], scale: float, where: str) -> Fused:
    """Adds an adapter into `network`, in place. `where` names its file in messages.

    Raises `TrainingError` before anything is changed when a key has no place in the network, a
    pair is incomplete, or a shape does not fit.
    """
    modules = {
        path: module
        for path, module in network.named_modules()
        if isinstance(getattr(module, "weight", None), Tensor)
    }
    flat = {path.replace(".", "_"): path for path in modules}
    parts: dict[str, dict[str, Tensor]] = {}
    unknown, text_keys = [], 0
    for key, value in tensors.items():
        if key.startswith(_TEXT_PREFIXES):
            text_keys += 1
            continue
        path, kind = _place(key, modules, flat)
        if path is None:
            unknown.append(key)
        else:
            parts.setdefault(path, {})[kind] = value
    if unknown:
        raise TrainingError(
            f"{where}: {len(unknown)} of {len(tensors)} keys have no place in the UNet, "
            f"for example {unknown[0]!r}"
        )
    if not parts:
        raise TrainingError(f"{where}: no LoRA weights of a UNet in it, found {len(tensors)} keys")

    changes = {path: _change(path, modules[path], found, where) for path, found in parts.items()}
    for path, change in changes.items():
        weight = modules[path].weight
        assert isinstance(weight, Tensor)
        weight += (scale * change).to(weight.dtype)
    return Fused(layers=sorted(changes), text_keys=text_keys)


def _place(key: str, modules: dict[str, nn.Module], flat: dict[str, str]) -> tuple[str | None, str]:
    matches = ((kind, pattern.search(key)) for kind, pattern in _KINDS.items())
    kind, match = next(((kind, match) for kind, match in matches if match), ("", None))
    if match is None:
        return None, ""
    path = key[: match.start()].replace(".processor", "")
    for prefix in _PREFIXES:
        path = path.removeprefix(prefix)
    if path.startswith(_FLAT_PREFIX):
        return flat.get(path.removeprefix(_FLAT_PREFIX)), kind
    if path not in modules and f"{path}.0" in modules:
        path += ".0"  # `to_out` is a list of one layer and a dropout
    return (path if path in modules else None), kind


def _change(path: str, module: nn.Module, found: dict[str, Tensor], where: str) -> Tensor:
    if not {"up", "down"} <= found.keys():
        raise TrainingError(f"{where}: {path} has {sorted(found)}, expected up and down")
    up, down, weight = found["up"].float(), found["down"].float(), module.weight
    assert isinstance(weight, Tensor)
    rank = down.shape[0]
    fits = up.shape[:2] == (weight.shape[0], rank) and down.shape[1:] == weight.shape[1:]
    if not fits or up[0, 0].numel() != 1:
        raise TrainingError(
            f"{where}: {path} has up {list(up.shape)} and down {list(down.shape)}, "
            f"expected a product of {list(weight.shape)}"
        )
    alpha = float(found["alpha"]) if "alpha" in found else float(rank)
    return (alpha / rank) * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
