"""`corticast-train export`: a trained model as ONNX files and the manifest the daemon reads."""

import argparse

import torch
from rich.console import Console
from rich.table import Table

from corticast_training.choices import HEADS
from corticast_training.config import Config
from corticast_training.errors import TrainingError
from corticast_training.export.check import TOLERANCE
from corticast_training.export.model import (
    Exported,
    Request,
    export_model,
    only_subject,
    subject_facts,
)
from corticast_training.export.roles import roles_without
from corticast_training.export.worker import load_vae
from corticast_training.model.memory import check_memory, estimate, gigabytes
from corticast_training.model_folder import refuse_existing
from corticast_training.targets.pretrained import TINY
from corticast_training.training.checkpoint import CONFIG
from corticast_training.training.facts import read_facts


def run(args: argparse.Namespace) -> None:
    """Exports, checks, and says what was written. Raises `TrainingError`."""
    refuse_existing(args.out, args.force)
    facts = read_facts(args.decoupler, "decoupler")
    config = Config.load(str(args.decoupler / CONFIG))
    subject = (args.subject or only_subject(facts, args.decoupler)).removeprefix("sub-")
    own = subject_facts(facts, subject, args.decoupler)
    left_out = frozenset(args.without)
    if not config.decoupler.decoupled and left_out != HEADS.keys():
        print("the model was trained without its decoupled tasks: no head is exported")
        left_out = frozenset(HEADS)
    if config.decoupler.text_keys == "batch" and "objects" not in left_out:
        raise TrainingError(
            f'{args.decoupler}: text_keys is "batch", with which masks depend on the other clips '
            'of a batch: live there is one. Expected "tokens", or --without objects'
        )
    roles = roles_without(left_out)
    if args.vae not in (None, TINY):
        load_vae(args.vae)  # a wrong folder is said now, not after an hour
    needed = estimate(
        config.sizes,
        {subject: own["mask"]["n_voxel"]},
        facts["window_volumes"],
        stage="decoupler",
        batch=1,
    ).export
    print(f"{len(roles) + bool(args.vae)} graphs, each takes up to {gigabytes(needed)} of memory")
    check_memory(needed, torch.device("cpu"), "the largest graph")
    request = Request(
        checkpoint=args.decoupler,
        targets=args.targets,
        subject=subject,
        name=args.name or args.out.resolve().name,
        precision=args.precision,
        roles=tuple(roles),
        vae=args.vae,
    )
    exported = export_model(request, args.out, force=args.force)
    _show(exported, TOLERANCE[args.precision])
    total = sum(file.stat().st_size for file in args.out.rglob("*") if file.is_file())
    print(f"wrote {args.out}, {gigabytes(total)}: every graph agrees with PyTorch in ONNX Runtime")


def _show(exported: list[Exported], bound: float) -> None:
    table = Table(title=f"relative error in ONNX Runtime, at most {bound:g}")
    table.add_column("graph")
    for name in ("size", "nodes", "error", "peak memory"):
        table.add_column(name, justify="right")
    for one in exported:
        table.add_row(
            one.role,
            gigabytes(one.n_byte),
            str(one.nodes),
            f"{one.error:.1e}",
            gigabytes(one.peak_bytes),
        )
    Console().print(table)
