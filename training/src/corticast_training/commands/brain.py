"""`corticast-train brain`: stage 1, the brain model from BOLD to CLIP tokens."""

import argparse

import numpy as np
from torch import Tensor

from corticast_training.data.inputs import prepared_folders
from corticast_training.model.brain import BrainModel
from corticast_training.model.published import load_published
from corticast_training.training.brain import BrainTask
from corticast_training.training.checkpoint import MODEL
from corticast_training.training.devices import connected
from corticast_training.training.draws import seed_torch
from corticast_training.training.facts import copy_statistics, study_facts, write_facts
from corticast_training.training.folder import (
    binding,
    goes_on,
    make_folder,
    on_first,
    refuse_existing,
)
from corticast_training.training.loop import Loop
from corticast_training.training.options import brain_config
from corticast_training.training.reached import Reached
from corticast_training.training.read import read_study
from corticast_training.training.report import check_stage_memory, say_outcome
from corticast_training.training.split import held_out
from corticast_training.training.state import write_tensors


def run(args: argparse.Namespace) -> None:
    """Trains, or goes on training. Raises `TrainingError` with what is to be put right."""
    config, prepared = brain_config(args), prepared_folders(args.prepared)
    plan = config.brain
    with connected(
        devices=args.devices,
        nodes=args.nodes,
        strategy=args.strategy,
        precision=plan.precision,
        accelerator=args.accelerator,
    ) as fabric:
        on_first(fabric, lambda: refuse_existing(args.out, resume=args.resume))
        study = read_study(args.data, prepared, args.targets, config.sizes)
        check_stage_memory(fabric, config, study, "brain", args.strategy)
        chosen = held_out(study.segments, plan.validation_fraction, plan.seed)
        facts = study_facts(study, [study.clips[row] for row in np.flatnonzero(chosen)])

        seed_torch(plan.seed, "brain", "weights")
        brain = BrainModel(config.sizes, study.n_voxel, study.window_volumes, study.projection)
        if args.init is not None:
            facts["init"] = args.init.name
            if not goes_on(args.out, resume=args.resume):
                report = load_published(args.init, {"brain": brain}, subject=args.init_subject)
                if fabric.is_global_zero:
                    print(f"{args.init}: {report}")
        task = BrainTask(plan, study, brain, chosen, fabric.world_size * plan.accumulate)

        def open_out() -> None:
            make_folder(args.out, config, resume=args.resume)
            copy_statistics(study, args.out)

        def write_best(tensors: dict[str, Tensor], reached: Reached) -> None:
            own = {name.removeprefix("brain."): value for name, value in tensors.items()}
            write_tensors(args.out / MODEL, own, {"epoch": str(reached.best_epoch + 1)})
            write_facts(args.out, "brain", facts, reached)

        on_first(fabric, open_out)
        loop = Loop(
            fabric,
            task,
            args.out,
            binding=binding(config, "brain", facts),
            write_best=write_best,
            resume=args.resume,
        )
        reached = loop.run(args.max_steps)
        if fabric.is_global_zero:
            say_outcome(args.out, loop, reached, args.max_steps)
