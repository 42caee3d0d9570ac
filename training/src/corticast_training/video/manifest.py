"""`video.toml`: all that the daemon compares or needs before it samples.

Networks, their tensors and hashes stand as in a model's `manifest.toml`. Beside them stand the
sizes, the constants of the schedule that the networks were trained with, the prompts and their
vocabulary, and which graphs make up a step in which mode.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from corticast_training import __version__
from corticast_training.export.assets import copy_vocabulary
from corticast_training.model_folder import date, network_entries, sha256_of, versions
from corticast_training.targets import bpe
from corticast_training.video.assemble import Assembled
from corticast_training.video.check import TOLERANCE
from corticast_training.video.config import TEXT_TOKENS
from corticast_training.video.folder import FORMAT
from corticast_training.video.request import Request

UNDISTILLED = (
    "no consistency adapter was fused: few steps without guidance give what the plain networks can"
)


def manifest(
    request: Request,
    assembled: Assembled,
    entries: Iterable[Mapping[str, Any]],
    provenance: Mapping[str, Any],
    out: Path,
) -> dict[str, Any]:
    """The content of `video.toml`, for graphs that lie in `out`; the vocabulary goes there too."""
    config, entries = request.config, list(entries)
    vocabulary = copy_vocabulary(out)
    distilled = {"adapter": request.few_steps} if request.few_steps else {"note": UNDISTILLED}
    return {
        "format": FORMAT,
        "family": "animatediff",
        "name": request.name,
        "precision": request.precision,
        "shapes": "dynamic" if request.dynamic else "static",
        "sizes": {
            "frames": config.frames,
            "max_frames": assembled.max_frames if request.dynamic else config.frames,
            "latent": config.latent,
            "image": 8 * config.latent,
            "latent_channels": 4,
            "text_tokens": TEXT_TOKENS,
            "text_dim": assembled.text_dim,
            "residuals": len(assembled.channels),
        },
        "scheduler": {
            "train_steps": config.train_steps,
            "beta_start": config.beta_start,
            "beta_end": config.beta_end,
            "beta_schedule": "linear",
            "prediction": "epsilon",
            "steps_offset": config.steps_offset,
            "spacing": "leading",
            "set_alpha_to_one": True,
            "clip_sample": False,
            "guidance": config.guidance,
        },
        "lcm": {
            "original_steps": config.lcm_original_steps,
            "timestep_scaling": config.lcm_timestep_scaling,
            "sigma_data": config.lcm_sigma_data,
            "distilled": bool(request.few_steps),
            **distilled,
        },
        "vae": {"scale": config.vae_scale},
        "prompt": {
            "suffix": config.prompt_suffix,
            "negative": config.negative_prompt,
            "start_id": bpe.START_ID,
            "end_id": bpe.END_ID,
            "pad_id": config.pad_id,
            "vocabulary": vocabulary,
            "vocabulary_sha256": sha256_of(out / vocabulary),
        },
        "graphs": _modes({entry["role"] for entry in entries}),
        "network": network_entries(entries, out),
        "provenance": {
            "version": __version__,
            "date": date(),
            "checked_relative_to_max": TOLERANCE[request.precision],
            "libraries": versions(("torch", "diffusers", "transformers", "onnx", "onnxruntime")),
            **provenance,
        },
    }


def _modes(roles: set[str]) -> dict[str, Any]:
    """Which graphs of the set a step takes, in the order they run. What is incomplete is left out.

    `reference` has guidance, `live` has none; `fused` is one graph a step, `split` keeps
    SparseCtrl's residuals apart from the UNet that reads them.
    """
    few_steps = "unet_lcm" if "unet_lcm" in roles else "unet"
    wanted: dict[str, dict[str, list[str]]] = {
        "clip": {
            "text": ["text_encoder"],
            "vae": ["vae_encoder", "vae_decoder"],
            "taesd": ["taesd_encoder", "taesd_decoder"],
        },
        "reference": {"fused": ["denoise_step"], "split": ["controlnet", "unet"]},
        "live": {
            "fused": ["denoise_step_plain"],
            "split": ["controlnet", few_steps],
            "uncontrolled": ["unet_plain"],
        },
    }
    return {
        mode: {kind: graphs for kind, graphs in kinds.items() if roles.issuperset(graphs)}
        for mode, kinds in wanted.items()
    }
