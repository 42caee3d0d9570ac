"""`corticast-train export-animatediff`: pretrained video networks to ONNX for the daemon."""

import argparse
from pathlib import Path

from corticast_training.errors import TrainingError
from corticast_training.model_folder import sha256_of
from corticast_training.video import memory
from corticast_training.video.config import VideoConfig
from corticast_training.video.export_set import assemble, export_graphs
from corticast_training.video.folder import refuse_existing, staged
from corticast_training.video.request import Request

FOLDERS = ("unet", "motion", "controlnet", "vae", "text_encoder")


def run(args: argparse.Namespace) -> None:
    """Assembles, exports, checks, writes. Raises `TrainingError` with what is to be put right."""
    refuse_existing(args.out, args.force)
    if args.dynamic and args.static:
        raise TrainingError("--dynamic and --static: expected one of them")
    frames, latent = (None, None) if args.static is None else _static(args.static)
    request = Request(
        name=args.name or args.out.resolve().name,
        config=VideoConfig.load(args.config, frames=frames, latent=latent),
        precision=args.precision or ("fp32" if args.dynamic else "fp16"),
        dynamic=args.dynamic,
        split=args.split,
        few_steps="" if args.lcm_lora is None else args.lcm_lora.name,
    )
    sources = _sources(args)
    files = {path for parts in sources.values() for path in parts.values()}
    for path in sorted(files):
        if not path.exists():
            raise TrainingError(f"{path}: missing")
    print(memory.require(_needed(sources, request.config), memory.available_bytes()))

    with staged(args.out, args.force) as (out, work):
        facts, notes = assemble(sources, request, work, out)
        provenance = {
            "tool": "corticast-train export-animatediff",
            "fused": notes,
            "sources": {
                f"{path.parent.name}/{path.name}": sha256_of(path) for path in _weight_files(files)
            },
        }
        entries = export_graphs(request, facts, work, out, provenance)
    for note in notes:
        print(note)
    for entry in entries:
        print(f"  {entry['role']:<20} {entry['error']:.1e} of the largest value off")
    print(f"wrote {args.out} ({request.precision}, each graph checked in ONNX Runtime)")


def _static(text: str) -> tuple[int, int]:
    parts = text.split("x")
    if len(parts) != 5 or not all(part.isdigit() for part in parts):
        raise TrainingError(f"--static is {text!r}, expected 1x4xFxHxW such as 1x4x16x32x32")
    batch, channels, frames, height, width = map(int, parts)
    if (batch, channels) != (1, 4) or height != width:
        raise TrainingError(f"--static is {text!r}, expected batch 1, 4 channels, square latents")
    return frames, height


def _sources(args: argparse.Namespace) -> dict[str, dict[str, Path]]:
    unet = {"unet": args.unet, "motion": args.motion}
    if args.domain_lora is not None:
        unet["domain_lora"] = args.domain_lora
    sources: dict[str, dict[str, Path]] = {"unet": unet}
    if args.lcm_lora is not None:
        sources["unet_lcm"] = {**unet, "lcm_lora": args.lcm_lora}
    sources["controlnet"] = {"controlnet": args.controlnet}
    sources["vae"] = {"vae": args.vae}
    sources["text_encoder"] = {"text_encoder": args.text_encoder}
    if args.taesd is not None:
        sources["taesd"] = {"taesd": args.taesd}
    return sources


def _part(folder: Path, name: str) -> Path:
    part = folder / name
    return part if not (folder / "config.json").is_file() and part.is_dir() else folder


def _needed(sources: dict[str, dict[str, Path]], config: VideoConfig) -> int:
    parts = [
        memory.parameters_in(_part(path, name))
        for source in ("unet", "controlnet")
        for name, path in sources[source].items()
        if path.is_dir()
    ]
    return memory.needed_bytes(parts, config.frames, config.latent)


def _weight_files(paths: set[Path]) -> list[Path]:
    found = {p for p in paths if p.is_file()}
    for folder in (p for p in paths if p.is_dir()):
        parts = [folder, *(folder / name for name in FOLDERS)]
        for suffix in memory.WEIGHT_SUFFIXES:
            found |= {file for part in parts for file in part.glob(f"*{suffix}")}
    return sorted(found)
