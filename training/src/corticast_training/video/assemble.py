"""Pretrained networks from local diffusers-layout folders, put together and checked to fit.

The motion module goes into the UNet and adapters into its weights, as the reference pipeline does
before it runs. What comes out is kept in a work folder, in the precision of the set, for the
processes that trace graphs of it; its weights are written once as the set's `.data` files.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    MotionAdapter,
    SparseControlNetModel,
    UNet2DConditionModel,
    UNetMotionModel,
)
from torch import nn
from transformers import CLIPTextModel

from corticast_training.errors import TrainingError
from corticast_training.video.config import MAX_FRAMES
from corticast_training.video.lora import fuse_lora, read_lora
from corticast_training.video.tiny_control import TinySparseCtrl
from corticast_training.video.tiny_networks import TinyVaeParts
from corticast_training.video.tiny_unet import TinyUnet
from corticast_training.video.weights import round_to, write_index, write_weights

CLASSES: dict[str, Any] = {
    "unet": UNetMotionModel,
    "unet_lcm": UNetMotionModel,
    "controlnet": SparseControlNetModel,
    "vae": AutoencoderKL,
    "taesd": AutoencoderTiny,
    "text_encoder": CLIPTextModel,
}
TINY: dict[str, Any] = {kind.__name__: kind for kind in (TinyUnet, TinySparseCtrl, TinyVaeParts)}
"""Of `tiny-video`; only this tool stores them."""
SUBFOLDERS = {"unet_lcm": "unet"}
"""Where a whole pipeline's folder is named, its part is taken."""


@dataclass(frozen=True)
class Assembled:
    """What the graphs have to know of the networks."""

    text_dim: int
    channels: list[int]
    """Of each residual from SparseCtrl to the UNet, the middle one last."""
    shrinks: list[int]
    """How many times smaller than the latents each residual is."""
    max_frames: int
    """Rows of the position tables of the motion modules."""


def assemble_network(job: dict[str, Any]) -> dict[str, Any]:
    """One network, in a process of its own. Returns facts for provenance and checks."""
    source = job["source"]
    network, notes = load_source(source, {k: Path(v) for k, v in job["from"].items()}, job)
    facts = keep(network, source, Path(job["work"]), Path(job["out"]), job["precision"])
    return {"facts": facts, "notes": notes}


def load_source(
    source: str, folders: dict[str, Path], job: dict[str, Any]
) -> tuple[nn.Module, list[str]]:
    """One network, with what belongs into it; and what was done, in words."""
    quiet()
    notes: list[str] = []
    if source not in ("unet", "unet_lcm"):
        return load(CLASSES[source], folders[source], source), notes
    base = load(UNet2DConditionModel, folders["unet"], "unet")
    motion = load(MotionAdapter, folders["motion"], "motion")
    for option, scale in (("domain_lora", "domain_lora_scale"), ("lcm_lora", "lcm_lora_scale")):
        if option not in folders or (option == "lcm_lora" and source == "unet"):
            continue
        path = folders[option]
        fused = fuse_lora(base, read_lora(path), job[scale], str(path))
        notes.append(f"{path.name} fused at {job[scale]:g} into {len(fused.layers)} layers")
        if fused.text_keys:
            notes.append(f"{path.name}: {fused.text_keys} keys for the text encoder left out")
    try:
        unet: nn.Module = UNetMotionModel.from_unet2d(base, motion)
    except (ValueError, RuntimeError, KeyError, AttributeError) as error:
        raise TrainingError(f"the motion module does not fit the UNet: {error}") from error
    return unet.eval(), notes


def load(kind: Any, folder: Path, source: str) -> nn.Module:
    """A network of a class of the library, from a local folder only."""
    part = folder / SUBFOLDERS.get(source, source)
    if not (folder / "config.json").is_file() and (part / "config.json").is_file():
        folder = part
    if not (folder / "config.json").is_file():
        raise TrainingError(
            f"{folder}: no config.json in it, expected a diffusers folder of the {source}"
        )
    try:
        network: nn.Module = kind.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the libraries raise what they like at foreign files
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise TrainingError(f"{folder}: not a {kind.__name__}: {reason[0]}") from error
    return network.float().eval()


def keep(network: nn.Module, source: str, work: Path, out: Path, precision: str) -> dict[str, Any]:
    """Stores a network for the tracing processes, and its weights for the set."""
    quiet()
    network = round_to(network, precision, source)
    network.save_pretrained(str(work / source))  # type: ignore[operator]
    write_index(write_weights(network, out / f"{source}.data", precision), work / f"{source}.json")
    return facts_of(network, source)


def load_assembled(work: Path, source: str, precision: str) -> nn.Module:
    """What `keep` stored."""
    quiet()
    dtype = torch.float16 if precision == "fp16" else torch.float32
    # The exporter gives fused attention with a mask the wrong type in fp16.
    options = {"attn_implementation": "eager"} if source == "text_encoder" else {}
    network: nn.Module = _class_of(work / source, source).from_pretrained(
        str(work / source), local_files_only=True, torch_dtype=dtype, **options
    )
    return network.to(dtype).eval()


def quiet() -> None:
    """The libraries' own bars and remarks would lie over ours."""
    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def _class_of(folder: Path, source: str) -> Any:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return TINY.get(config.get("_class_name"), CLASSES[source])


def facts_of(network: Any, source: str) -> dict[str, Any]:
    """Sizes that have to agree between the networks, from their configurations."""
    config = network.config
    facts: dict[str, Any] = {"parameters": sum(p.numel() for p in network.parameters())}
    if source in ("unet", "unet_lcm", "controlnet"):
        facts |= {
            "in_channels": config.in_channels,
            "channels": list(config.block_out_channels),
            "layers": config.layers_per_block,
            "text_dim": config.cross_attention_dim,
        }
    if source in ("unet", "unet_lcm"):
        facts["max_frames"] = config.motion_max_seq_length
        facts["time_condition"] = config.time_cond_proj_dim
    elif source == "controlnet":
        facts["max_frames"] = config.motion_max_seq_length
        facts["conditioning_channels"] = config.conditioning_channels
        facts["conditioning_mask"] = config.concat_conditioning_mask
        facts["simplified"] = config.use_simplified_condition_embedding
    elif source in ("vae", "taesd"):
        facts["latent_channels"] = config.latent_channels
        facts["scale"] = config.scaling_factor
        facts["levels"] = len(
            config.block_out_channels if source == "vae" else config.encoder_block_out_channels
        )
    elif source == "text_encoder":
        facts["text_dim"] = config.hidden_size
        facts["tokens"] = config.max_position_embeddings
        facts["vocabulary"] = config.vocab_size
    return facts


def fit(facts: dict[str, dict[str, Any]], frames: int, vae_scale: float) -> Assembled:
    """Raises `TrainingError` unless the networks belong together."""
    unet, control, text = facts["unet"], facts["controlnet"], facts["text_encoder"]

    def same(name: str, found: Any, expected: Any) -> None:
        if found != expected:
            raise TrainingError(f"{name} is {found}, expected {expected}")

    same("the UNet's number of latent channels", unet["in_channels"], 4)
    same("the UNet's extra time condition (a distilled UNet? give its LoRA instead)",
         unet["time_condition"], None)  # fmt: skip
    same("layers of a block of the UNet", unet["layers"], control["layers"])
    same("SparseCtrl's channels", control["channels"], unet["channels"])
    same("SparseCtrl's conditioning channels (the RGB one takes latents)",
         control["conditioning_channels"], 4)  # fmt: skip
    same("SparseCtrl's mask input", control["conditioning_mask"], True)
    same("SparseCtrl's simplified embedding (the RGB one has it)", control["simplified"], True)
    same("SparseCtrl's text width", control["text_dim"], unet["text_dim"])
    same("the text encoder's width", text["text_dim"], unet["text_dim"])
    same("the text encoder's positions", text["tokens"], 77)
    same("the text encoder's vocabulary", text["vocabulary"], 49408)
    for name in ("unet", "controlnet"):
        if facts[name]["max_frames"] < frames:
            raise TrainingError(
                f"the {name}'s motion module knows {facts[name]['max_frames']} frames, "
                f"expected at least {frames}"
            )
    for name in ("vae", "taesd"):
        if name in facts:
            same(f"latent channels of the {name}", facts[name]["latent_channels"], 4)
            same(f"levels of the {name} (8 pixels a latent)", facts[name]["levels"], 4)
    if abs(facts["vae"]["scale"] - vae_scale) > 1e-6:
        raise TrainingError(
            f"the VAE's scaling factor is {facts['vae']['scale']}, expected vae_scale {vae_scale}"
        )
    if not isinstance(unet["layers"], int):
        raise TrainingError(f"layers of the UNet's blocks are {unet['layers']}, expected a number")
    channels, shrinks = [unet["channels"][0]], [1]
    for level, width in enumerate(unet["channels"]):
        last = level == len(unet["channels"]) - 1
        channels += [width] * (unet["layers"] + (not last))
        shrinks += [2**level] * unet["layers"] + ([] if last else [2 ** (level + 1)])
    return Assembled(
        text_dim=unet["text_dim"],
        channels=[*channels, unet["channels"][-1]],
        shrinks=[*shrinks, shrinks[-1]],
        max_frames=min(MAX_FRAMES, unet["max_frames"], control["max_frames"]),
    )
