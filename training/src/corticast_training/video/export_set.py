"""Exports a set of video networks: one process per network and per graph, then the manifest."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corticast_training.apart import run_apart
from corticast_training.errors import TrainingError
from corticast_training.progress import progress
from corticast_training.video.assemble import assemble_network, fit
from corticast_training.video.folder import write_manifest
from corticast_training.video.graphs import plan
from corticast_training.video.manifest import manifest
from corticast_training.video.request import Request
from corticast_training.video.trace import trace_graph


def assemble(
    sources: Mapping[str, Mapping[str, Path]], request: Request, work: Path, out: Path
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Loads, joins and stores every network. `sources`: network → option → folder or file.

    Returns facts per network and what was done, in words.
    """
    facts, notes = {}, []
    for source in progress(sources, len(sources), "networks"):
        job = {
            "source": source,
            "from": {key: str(path) for key, path in sources[source].items()},
            "work": str(work),
            "out": str(out),
            "precision": request.precision,
            "domain_lora_scale": request.config.domain_lora_scale,
            "lcm_lora_scale": request.config.lcm_lora_scale,
        }
        found = run_apart(assemble_network, job, source, preload=__name__)
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
        entries.append(run_apart(trace_graph, job, role, preload=__name__))
    named = {file for entry in entries for file in entry["external"]}
    for path in out.glob("*.data"):
        if path.name not in named:
            path.unlink()
    write_manifest(out, manifest(request, assembled, entries, provenance, out))
    return entries
