"""A stage of a few numbers, to test the loop by; a program too, so that it can be killed.

Two subjects with 5 and 7 voxels, 24 clips; a linear map each into a common space of 6. It has
what the real stages have: a contrastive loss over the whole batch, one that is a mean over
samples, blended samples, dropout.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from corticast_training.config import Stage1
from corticast_training.errors import TrainingError
from corticast_training.loss.contrastive import bimixco
from corticast_training.loss.mixco import Mix
from corticast_training.training.batches import Batch, Batches
from corticast_training.training.devices import connected
from corticast_training.training.draws import generator
from corticast_training.training.loop import Loop
from corticast_training.training.reached import Reached
from corticast_training.training.state import write_tensors
from corticast_training.training.task import Task, Term

VOXELS, N_CLIP, WIDTH = (5, 7), 24, 6


class ToyNetwork(nn.Module):
    def __init__(self, dropout: float, width: int = WIDTH) -> None:
        super().__init__()
        self.ridge = nn.ModuleList(nn.Linear(n, width) for n in VOXELS)
        self.mix = nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(width, WIDTH))

    def forward(self, bold: list[Tensor]) -> dict[str, Tensor]:
        hidden = torch.cat([ridge(x) for ridge, x in zip(self.ridge, bold, strict=True)])
        return {"tokens": self.mix(hidden)}


class ToyTask(Task):
    name = "toy"
    terms = ("contrast", "error")
    metrics = ("error",)
    shared = ("tokens",)
    has_validation = True

    def __init__(self, plan: Stage1, n_part: int, dropout: float, width: int = WIDTH) -> None:
        rng = np.random.default_rng(0)
        truth = rng.standard_normal((N_CLIP, WIDTH)).astype(np.float32)
        self.truth = torch.from_numpy(truth)
        self.bold = []
        for n in VOXELS:
            mixing = rng.standard_normal((WIDTH, n)).astype(np.float32)
            self.bold.append(torch.from_numpy(truth @ mixing))
        held_out = np.arange(N_CLIP) < 4
        clips = [np.where(held_out, -1, np.arange(N_CLIP)) for _ in VOXELS]
        self.schedule = plan
        self.batches = Batches(
            clips, size=plan.batch, n_part=n_part, seed=plan.seed, stage=self.name
        )
        torch.manual_seed(plan.seed)
        self.network = ToyNetwork(dropout, width)

    def forward(self, network: nn.Module, batch: Batch, rows: Tensor) -> dict[str, Tensor]:
        whole = [bold[own] for bold, own in zip(self.bold, batch.rows, strict=True)]
        mix, parts, start = self.mix(batch), [], 0
        for bold in whole:
            own = rows[(rows >= start) & (rows < start + len(bold))]
            partner = bold[mix.partner[own] - start]
            parts.append(mix.apply(bold[own - start, None], partner[:, None], own)[:, 0])
            start += len(bold)
        found: dict[str, Tensor] = network(parts)
        return found

    def mix(self, batch: Batch) -> Mix:
        rng = generator(self.schedule.seed, self.name, batch.epoch, batch.index, "mix")
        return Mix.draw(rng, batch.group_sizes, 0.15)

    def losses(
        self, batch: Batch, rows: Tensor, outputs: dict[str, Tensor], everyone: dict[str, Tensor]
    ) -> dict[str, Term]:
        truth, mix = self.truth[batch.clip], self.mix(batch)
        contrast = bimixco(everyone["tokens"], truth, 0.1, mix.share, mix.partner)
        error = functional.mse_loss(outputs["tokens"], truth[rows], reduction="none").mean(1)
        return {
            "contrast": Term(contrast, 1.0, shared=True),
            "error": Term(error.sum() / len(truth), 0.3, shared=False),
        }

    def validate(self, network: nn.Module) -> dict[str, float]:
        found = network([bold[:4] for bold in self.bold])["tokens"]
        return {"error": float(functional.mse_loss(found, self.truth[:4].repeat(2, 1)))}

    def score(self, metrics: dict[str, float]) -> tuple[float, ...]:
        return (-metrics["error"],)


def plan(**changes: float) -> Stage1:
    values = {"epochs": 4, "batch": 8, "max_learning_rate": 0.02, "checkpoint_every_steps": 3}
    return Stage1(**(values | changes))  # type: ignore[arg-type]


def loop(
    out: Path, task: ToyTask, *, fabric: Fabric | None = None, resume: bool = False, width: int = 6
) -> Loop:
    if fabric is None:
        fabric = Fabric(accelerator="cpu", devices=1)
        fabric.launch()
    out.mkdir(exist_ok=True, parents=True)

    def write_best(tensors: dict[str, Tensor], reached: Reached) -> None:
        write_tensors(out / "model.safetensors", tensors, {"epoch": str(reached.best_epoch)})

    return Loop(
        fabric,
        task,
        out,
        binding={"width": width, "epochs": task.schedule.epochs},
        write_best=write_best,
        resume=resume,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--devices", type=int)
    parser.add_argument("--strategy", default="ddp")
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--dropout", type=float, default=0.15)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--kill-after", type=int)
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with connected(
        devices=args.devices,
        nodes=None,
        strategy=args.strategy,
        precision="32-true",
        accelerator="cpu",
    ) as fabric:
        schedule = plan(accumulate=args.accumulate, checkpoint_every_steps=args.every)
        task = ToyTask(schedule, fabric.world_size * args.accumulate, args.dropout)
        training = loop(args.out, task, fabric=fabric, resume=args.resume)
        if args.kill_after is not None:
            kill_after(training, args.kill_after)
        training.run(args.max_steps)


def kill_after(training: Loop, steps: int) -> None:
    """Makes the process die without warning in the middle of a later step."""
    import os
    import signal

    inner = training.task.losses

    def losses(*given: object) -> dict[str, Term]:
        if training.reached.step == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(*given)  # type: ignore[arg-type]

    training.task.losses = losses  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    try:
        main()
    except TrainingError as error:
        sys.exit(f"error: {error}")
