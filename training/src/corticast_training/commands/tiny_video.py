"""`corticast-train tiny-video`: tiny networks of the video stage's interfaces."""

import argparse

import torch

from corticast_training.data.movie import read_movie
from corticast_training.errors import TrainingError
from corticast_training.model_folder import sha256_of
from corticast_training.video.assemble import keep, quiet
from corticast_training.video.config import VideoConfig
from corticast_training.video.export_set import export_graphs
from corticast_training.video.folder import refuse_existing, staged
from corticast_training.video.request import Request
from corticast_training.video.samples import write_samples
from corticast_training.video.tiny_networks import tiny_networks
from corticast_training.video.tiny_training import material, train

PRECISION = "fp16-storage"
GUIDANCE = 1.5
"""The real networks' 8.5 drives small ones out of range."""
ROLES = frozenset({
    "text_encoder", "vae_encoder", "vae_decoder", "controlnet", "unet", "denoise_step",
    "denoise_step_plain",
})  # fmt: skip
EMBED_BELOW_BYTES = 1 << 16
"""Larger weights are shared between fused and split graphs."""
SHOWN_CLIPS = 12


def run(args: argparse.Namespace) -> None:
    """Trains, exports, checks, writes. Raises `TrainingError` on clips that do not fit."""
    refuse_existing(args.out, args.force)
    if args.steps < 1:
        raise TrainingError(f"--steps is {args.steps}, expected at least 1")
    quiet()
    movie = read_movie(args.data)
    frames, captions = movie.frames("train"), [clip.caption for clip in movie.clips("train")]
    if missing := sum(caption is None for caption in captions):
        raise TrainingError(f"{args.data}: {missing} training clips have no caption")
    config = VideoConfig.load(
        frames=3 * movie.facts.n_frame - 2,
        latent=_latent(frames.shape[2], frames.shape[3]),
        guidance=GUIDANCE,
        prompt_suffix="",
        negative_prompt="",
    )
    # Sums in another order train other networks, and a second thread gains little at this size.
    torch.set_num_threads(1)
    networks = tiny_networks(args.seed)
    clips = material(networks, frames, [caption or "" for caption in captions], config)
    loss = train(networks, clips, config, args.steps, args.seed)
    print(f"trained on {len(frames)} clips: squared error {loss:.2f} of a linear estimate's")

    request = Request(
        name=args.name or args.out.resolve().name,
        config=config,
        precision=PRECISION,
        dynamic=False,
        split=1,
        roles=ROLES,
        compact=True,
        embed_below_bytes=EMBED_BELOW_BYTES,
    )
    provenance = {
        "tool": "corticast-train tiny-video",
        "seed": args.seed,
        "steps": args.steps,
        "loss": loss,
        "data": {"name": movie.facts.name, "clips_sha256": sha256_of(movie.layout.clips("train"))},
    }
    with staged(args.out, args.force) as (out, work):
        facts = {
            source: keep(network, source, work, out, PRECISION)
            for source, network in networks.sources().items()
        }
        entries = export_graphs(request, facts, work, out, provenance)
        size = sum(path.stat().st_size for path in out.iterdir())
    for entry in entries:
        print(f"  {entry['role']:<20} {entry['error']:.1e} of the largest value off")
    print(f"wrote {args.out} ({size / 1e6:.1f} MB, each graph checked in ONNX Runtime)")
    if args.samples is not None:
        test = movie.frames("test")[:SHOWN_CLIPS]
        names = [clip.caption or "" for clip in movie.clips("test")[:SHOWN_CLIPS]]
        seen = material(networks, test, names, config)
        write_samples(networks, test, seen, config, args.seed, args.samples)
        print(f"wrote {args.samples}")


def _latent(height: int, width: int) -> int:
    if height != width or height % 64:
        raise TrainingError(
            f"clips have {height}x{width} pixels, expected squares of a multiple of 64"
        )
    return height // 8
