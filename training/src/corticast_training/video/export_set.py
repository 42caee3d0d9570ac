"""Exports a set of video networks: one process per network and per graph, then the manifest."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corticast_training import __version__
from corticast_training.errors import TrainingError
from corticast_training.model_folder import date, versions
from corticast_training.progress import progress
from corticast_training.video.assemble import Assembled, fit
from corticast_training.video.check import TOLERANCE
from corticast_training.video.config import MAX_FRAMES, TEXT_TOKENS, VideoConfig
from corticast_training.video.folder import FORMAT, sha256_of, write_manifest
from corticast_training.video.graphs import plan

EMBED_BELOW_BYTES = 64 * 2**20
"""Networks smaller than this lie inside their graphs; larger ones are shared beside them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be exported, apart from the networks."""

    name: str
    config: VideoConfig
    precision: str
    dynamic: bool
    split: int = 0
    roles: frozenset[str] | None = None
    """Graphs to write; `None`: all of the plan."""
    compact: bool = False
    """Short names inside the graphs."""
    embed_below_bytes: int = EMBED_BELOW_BYTES


def run_worker(job: Mapping[str, Any], work: Path, what: str) -> dict[str, Any]:
    """Runs one job in a process of its own. Raises `TrainingError` with what it said."""
    path, result = work / "job.json", work / "result.json"
    result.unlink(missing_ok=True)
    path.write_text(json.dumps({**job, "result": str(result)}), encoding="utf-8")
    command = [sys.executable, "-m", "corticast_training.video.worker", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not result.is_file():
        said = done.stderr.strip().splitlines()
        if done.returncode < 0:
            said.append(f"ended by signal {-done.returncode}, out of memory?")
        raise TrainingError(f"{what}: {said[-1] if said else 'failed without a message'}")
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def assemble(
    sources: Mapping[str, Mapping[str, Path]], request: Request, work: Path, out: Path
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Loads, joins and stores every network. `sources`: network → option → folder or file.

    Returns facts per network and what was done, in words.
    """
    facts, notes = {}, []
    for source in progress(sources, len(sources), "networks"):
        job = {
            "task": "assemble",
            "source": source,
            "from": {key: str(path) for key, path in sources[source].items()},
            "work": str(work),
            "out": str(out),
            "precision": request.precision,
            "domain_lora_scale": request.config.domain_lora_scale,
            "lcm_lora_scale": request.config.lcm_lora_scale,
        }
        found = run_worker(job, work, source)
        facts[source] = found["facts"]
        notes += [note for note in found["notes"] if note not in notes]
    return facts, notes


def export_graphs(
    request: Request,
    facts: dict[str, dict[str, Any]],
    work: Path,
    out: Path,
    provenance: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Traces, checks and writes the graphs and `video.toml` of assembled networks.

    Returns the graphs' entries, each with its measured error.
    """
    config = request.config
    assembled = fit(facts, config.frames, config.vae_scale)
    options: dict[str, Any] = {
        "text_dim": assembled.text_dim,
        "n_residual": len(assembled.channels),
        "dynamic": request.dynamic,
        "split": request.split,
        "lcm": "unet_lcm" in facts,
        "taesd": "taesd" in facts,
        "precision": request.precision,
    }
    roles = [graph.role for graph in plan(config, **options)]
    if request.roles is not None:
        if missing := sorted(request.roles - set(roles)):
            raise TrainingError(f"no graph is called {missing[0]!r}, expected {', '.join(roles)}")
        roles = [role for role in roles if role in request.roles]
    entries = []
    for role in progress(roles, len(roles), "graphs"):
        job = {
            "task": "trace",
            "role": role,
            "plan": options,
            "config": dataclasses.asdict(config),
            "assembled": dataclasses.asdict(assembled),
            "precision": request.precision,
            "work": str(work),
            "out": str(out),
            "set": request.name,
            "compact": request.compact,
            "embed_below_bytes": request.embed_below_bytes,
        }
        entries.append(run_worker(job, work, role))
    named = {file for entry in entries for file in entry["external"]}
    for path in out.glob("*.data"):
        if path.name not in named:
            path.unlink()
    hashes = {name: sha256_of(out / name) for name in named}
    networks = [_network(entry, out, hashes) for entry in entries]
    write_manifest(out, _manifest(request, assembled, networks, provenance))
    return entries


def _network(entry: dict[str, Any], out: Path, hashes: Mapping[str, str]) -> dict[str, Any]:
    network = {
        "role": entry["role"],
        "file": entry["file"],
        "sha256": sha256_of(out / entry["file"]),
        "inputs": entry["inputs"],
        "outputs": entry["outputs"],
    }
    if entry["external"]:
        network["external"] = [{"file": f, "sha256": hashes[f]} for f in entry["external"]]
    return network


def _manifest(
    request: Request,
    assembled: Assembled,
    networks: list[dict[str, Any]],
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    config = request.config
    return {
        "format": FORMAT,
        "family": "animatediff",
        "name": request.name,
        "precision": request.precision,
        "shapes": "dynamic" if request.dynamic else "static",
        "sizes": {
            "frames": config.frames,
            "max_frames": MAX_FRAMES,
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
        },
        "vae": {"scale": config.vae_scale},
        "prompt": {
            "suffix": config.prompt_suffix,
            "negative": config.negative_prompt,
            "pad_id": config.pad_id,
        },
        "network": networks,
        "provenance": {
            "version": __version__,
            "date": date(),
            "checked_relative_to_max": TOLERANCE[request.precision],
            "libraries": versions(("torch", "diffusers", "transformers", "onnx", "onnxruntime")),
            **provenance,
        },
    }
