"""A whole model of the `neurons` family: every graph in a process of its own, then the manifest.

The manifest holds what the daemon compares before a run (mask, signal path, normalisation, sizes,
the SHA-256 of each file) and is written last, in a folder that gets its name when it is complete.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corticast_training import __version__
from corticast_training.apart import run_apart
from corticast_training.choices import HEADS
from corticast_training.config import STOP_ID, Config, Sizes
from corticast_training.errors import TrainingError
from corticast_training.export.assets import CLASS_STATES, copy_vocabulary, write_class_states
from corticast_training.export.roles import TABLE, VAE_ROLE
from corticast_training.export.trace import EXTERNAL_ABOVE_BYTES
from corticast_training.export.worker import Job, write
from corticast_training.model_folder import (
    FORMAT,
    date,
    network_entries,
    new_model,
    sha256_of,
    versions,
    write_manifest,
)
from corticast_training.progress import Bar
from corticast_training.training.checkpoint import CONFIG
from corticast_training.training.facts import read_facts
from corticast_training.video.weights import Stored

STATISTICS = "normalise.safetensors"
SIGNAL_KEYS = ("repetition_time_s", "hrf_delay_s", "shift", "window_volumes")
NORMALISE_KEYS = {"baseline": ("baseline_volumes",), "frozen": ("frozen_mean",)}
LIBRARIES = ("torch", "onnx", "onnxruntime")
_CAPTION_ROLES = HEADS["caption"]
_TABLE_READERS = ("caption_embed", "caption_decoder")


@dataclass(frozen=True, kw_only=True)
class Request:
    """Options of an export."""

    checkpoint: Path
    """Folder of stage 2."""
    targets: Path
    """Folder of targets that it was trained on: the class names' text states are there."""
    subject: str
    name: str
    precision: str
    roles: tuple[str, ...]
    vae: str | None
    """`tiny`, a folder in diffusers' layout, or no VAE decoder."""
    external_above_bytes: int = EXTERNAL_ABOVE_BYTES


@dataclass(frozen=True)
class Exported:
    """The outcome of exporting one graph."""

    role: str
    n_byte: int
    """Of its file and the weights beside it that are its own."""
    nodes: int
    error: float
    """Largest difference to PyTorch, relative to the output's largest value."""
    peak_bytes: int
    """Most memory that its process held."""


def export_model(request: Request, out: Path, *, force: bool) -> list[Exported]:
    """Writes the model folder `out`. Leaves no folder if it raises `TrainingError`."""
    facts = read_facts(request.checkpoint, "decoupler")
    config = Config.load(str(request.checkpoint / CONFIG))
    own = subject_facts(facts, request.subject, request.checkpoint)
    roles = [*request.roles, *([VAE_ROLE] if request.vae else [])]
    with new_model(out, force=force) as folder:
        files: dict[str, str] = {}
        if "objects" in roles:
            write_class_states(
                request.targets, facts["targets"]["sha256"], config.sizes, folder / CLASS_STATES
            )
            files["class_states"] = CLASS_STATES
        if set(_CAPTION_ROLES) & set(roles):
            files["vocabulary"] = copy_vocabulary(folder)
        found = _graphs(request, roles, folder, _metadata(request, own))
        manifest = {
            "format": FORMAT,
            "family": "neurons",
            "name": request.name,
            "subject": request.subject,
            "mask": own["mask"],
            "signal": {key: own["signal"][key] for key in SIGNAL_KEYS},
            "normalise": _normalise(own, request.checkpoint, folder),
            **({"stages": own["stages"]} if own.get("stages") else {}),
            "network": network_entries(found, folder),
            "neurons": _neurons(config.sizes, files, folder),
            "provenance": _provenance(request, facts, own, found),
        }
        write_manifest(folder, manifest)
        return [_exported(entry, folder) for entry in found]


def subject_facts(facts: Mapping[str, Any], subject: str, folder: Path) -> dict[str, Any]:
    """Mask, signal path and normalisation that a model was trained with, for one subject."""
    for own in facts["subject"]:
        if own["subject"] == subject:
            return dict(own)
    known = ", ".join(own["subject"] for own in facts["subject"])
    raise TrainingError(f"{folder}: was not trained on subject {subject}, expected one of {known}")


def only_subject(facts: Mapping[str, Any], folder: Path) -> str:
    """The subject of a model with a single subject."""
    subjects = [str(own["subject"]) for own in facts["subject"]]
    if len(subjects) != 1:
        raise TrainingError(
            f"{folder}: was trained on {', '.join(subjects)}: name the one to export with --subject"
        )
    return subjects[0]


def _graphs(
    request: Request, roles: list[str], folder: Path, metadata: Mapping[str, str]
) -> list[dict[str, Any]]:
    table: Mapping[str, Stored] | None = None
    found = []
    jobs = [TABLE, *roles] if set(_TABLE_READERS) & set(roles) else roles
    with Bar("graphs", len(jobs)) as bar:
        for role in jobs:
            job = Job(
                role=role,
                checkpoint=request.checkpoint,
                subject=request.subject,
                vae=request.vae,
                folder=folder,
                precision=request.precision,
                external_above_bytes=request.external_above_bytes,
                metadata={**metadata, "corticast_role": role},
                table=table if role in _TABLE_READERS else None,
            )
            result = run_apart(write, job, role, preload=__name__)
            if role == TABLE:
                table = result["index"]
            else:
                found.append(result)
            bar.advance(role)
    return found


def _metadata(request: Request, own: Mapping[str, Any]) -> dict[str, str]:
    """Metadata of a file, in case it is separated from its manifest."""
    return {
        "corticast_format": str(FORMAT),
        "corticast_model": request.name,
        "corticast_subject": request.subject,
        "corticast_mask_hash": own["mask"]["hash"],
        "corticast_precision": request.precision,
    }


def _normalise(own: Mapping[str, Any], checkpoint: Path, folder: Path) -> dict[str, Any]:
    written = own["normalise"]
    keys = ("mode", "warm_up_volumes", "across_voxels", *NORMALISE_KEYS.get(written["mode"], ()))
    section = {key: written[key] for key in keys if key in written}
    if written["mode"] == "frozen":
        source = checkpoint / written["statistics"]
        if not source.is_file():
            raise TrainingError(f"{source}: missing, expected the statistics of training")
        found, expected = sha256_of(source), written["statistics_sha256"]
        if found != expected:
            raise TrainingError(f"{source} has SHA-256 {found}, expected {expected}")
        shutil.copyfile(source, folder / STATISTICS)
        section |= {"statistics": STATISTICS, "statistics_sha256": found}
    return section


def _neurons(sizes: Sizes, files: Mapping[str, str], folder: Path) -> dict[str, Any]:
    section: dict[str, Any] = {
        "n_frame": sizes.n_frame,
        "n_token": sizes.n_token,
        "channels": sizes.channels,
        "text_dim": sizes.text_dim,
        "latent": sizes.latent,
        "mask": sizes.mask,
        "prior_steps": sizes.prior_steps,
        "prior_schedule": "cosine",
    }
    for key, file in files.items():
        section |= {key: file, f"{key}_sha256": sha256_of(folder / file)}
    if "vocabulary" in files:
        section |= {
            "caption_tokens": sizes.caption_tokens,
            "stop_id": STOP_ID,
            "caption_layers": sizes.caption_layers,
            "caption_heads": sizes.caption_heads,
            "caption_embd": sizes.caption_embd,
        }
    return section


def _provenance(
    request: Request,
    facts: Mapping[str, Any],
    own: Mapping[str, Any],
    found: list[dict[str, Any]],
) -> dict[str, Any]:
    left_out = [head for head, roles in HEADS.items() if not set(roles) & set(request.roles)]
    return {
        "tool": "corticast-train export",
        "version": __version__,
        "date": date(),
        "precision": request.precision,
        "heads_left_out": left_out,
        "data": facts["data"],
        "targets": facts["targets"],
        "prepared_sha256": own["prepared_sha256"],
        "trained": {"date": facts["date"], **facts["reached"]},
        # Rounded: the last digits depend on the machine.
        "error": {entry["role"]: float(f"{entry['error']:.1e}") for entry in found},
        "libraries": versions(LIBRARIES),
    }


def _exported(entry: Mapping[str, Any], folder: Path) -> Exported:
    own = [entry["file"], *(f for f in entry["external"] if not f.startswith(TABLE))]
    return Exported(
        role=entry["role"],
        n_byte=sum((folder / file).stat().st_size for file in own),
        nodes=entry["nodes"],
        error=entry["error"],
        peak_bytes=entry["peak_bytes"],
    )
