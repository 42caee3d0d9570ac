"""`corticast-train export`: a trained model as ONNX files and the manifest the daemon reads."""

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

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
from corticast_training.export.roles import HEADS, roles_without
from corticast_training.export.weights import PRECISIONS
from corticast_training.export.worker import load_vae
from corticast_training.model.memory import check_memory, estimate, gigabytes
from corticast_training.model_folder import refuse_existing
from corticast_training.targets.pretrained import TINY
from corticast_training.training.checkpoint import CONFIG
from corticast_training.training.facts import read_facts

EPILOG = """example:
  corticast-train export --decoupler neurons --targets targets --subject 01 --out models/sub-01
  corticast check --config site.toml --model models/sub-01

Every graph is written by a process of its own, run in ONNX Runtime on random input and compared
with PyTorch: above 1e-4 of the output's largest value (fp16: 5e-3) nothing is written. Precisions:
  fp32          as it was trained
  fp16-storage  weights in half precision, computed in single: half the size, for the CPU
  fp16          products in half precision as well: for CUDA
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    parser.add_argument(
        "--decoupler", type=Path, required=True, metavar="DIR", help="what `decoupler` wrote"
    )
    parser.add_argument(
        "--targets", type=Path, required=True, metavar="DIR", help="targets it was trained on"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="MODEL", help="new folder")
    parser.add_argument(
        "--subject", help="whose ridge (default: the only one that it was trained on)"
    )
    parser.add_argument("--name", help="in metrics and recordings (default: name of the folder)")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=sorted(HEADS),
        help="leave out a head that the daemon will not need; repeatable",
    )
    parser.add_argument(
        "--vae",
        metavar="tiny|DIR",
        help="also export a VAE decoder, for pictures: a folder in diffusers' layout",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing model")


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
