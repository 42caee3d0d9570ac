"""The process of one graph: loads its network, writes the graph and has it checked.

One process per graph, so that peak memory is that of one network. A checkpoint is memory-mapped:
of its ten gigabytes, a graph reads only the pages that it needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from corticast_training.apart import peak_bytes
from corticast_training.errors import TrainingError
from corticast_training.export.roles import TABLE, VAE_ROLE, Networks, graph, vae_graph
from corticast_training.export.trace import Target, write_graph
from corticast_training.export.weights import write_weights
from corticast_training.targets.pretrained import TINY
from corticast_training.training.checkpoint import load_decoupler
from corticast_training.video.weights import Stored

VAE_LATENT = 28
"""Edge of the latents that a VAE is traced with; others are checked."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """The job of one process."""

    role: str
    """Of a graph, or `roles.TABLE` for the weights that two graphs share."""
    checkpoint: Path
    """Folder of stage 2."""
    subject: str
    vae: str | None
    """`tiny`, or a folder in diffusers' layout."""
    folder: Path
    precision: str
    external_above_bytes: int
    metadata: Mapping[str, str]
    table: Mapping[str, Stored] | None = None
    """Where the shared weights lie, as the job of `roles.TABLE` returned it."""


def write(job: Job) -> dict[str, Any]:
    """Writes the file of a job; returns the facts for the manifest and the summary."""
    return {**_written(job), "peak_bytes": peak_bytes()}


def _written(job: Job) -> dict[str, Any]:
    table = job.folder / f"{TABLE}.data"
    target = Target(
        folder=job.folder,
        precision=job.precision,
        external_above_bytes=job.external_above_bytes,
        metadata=job.metadata,
        shared_file=table if job.table else None,
        shared_index=job.table,
    )
    if job.role == VAE_ROLE:
        return write_graph(vae_graph(load_vae(str(job.vae)), VAE_LATENT), target)
    networks = read_networks(job.checkpoint, job.subject)
    if job.role == TABLE:
        weight = networks.decoupler.captioner.wte.weight
        half = job.precision != "fp32"
        return {"index": write_weights({TABLE: weight}, table, transposed=(), half=half)}
    return write_graph(graph(job.role, networks), target)


def read_networks(checkpoint: Path, subject: str) -> Networks:
    """A stage 2 folder, mapped."""
    brain, prior, decoupler, config, facts = load_decoupler(checkpoint)
    return Networks(
        brain=brain,
        prior=prior,
        decoupler=decoupler,
        config=config,
        window_volumes=facts["window_volumes"],
        subject=subject,
    )


def load_vae(where: str) -> nn.Module:
    """The tiny VAE, or the one of a folder in diffusers' layout."""
    if where == TINY:
        from corticast_training.targets.tiny import TinyVae

        return TinyVae().eval()
    from diffusers import AutoencoderKL

    folder = Path(where)
    if not (folder / "config.json").is_file():
        raise TrainingError(f"{folder}: no config.json, expected a VAE in diffusers' layout")
    try:
        vae = AutoencoderKL.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder}: not a VAE that can be read: {error}") from error
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    if factor != 8 or vae.config.latent_channels != 4:
        raise TrainingError(
            f"{folder}: a VAE of factor {factor} with {vae.config.latent_channels} latent "
            "channels, expected 8 and 4"
        )
    module: nn.Module = vae.eval()
    return module
