"""`corticast-train decoupler`: stage 2, prior and decoupler on a frozen brain model."""

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from corticast_training.data.inputs import prepared_folders
from corticast_training.errors import TrainingError
from corticast_training.model.diffusion import CosineSchedule
from corticast_training.model.published import load_published
from corticast_training.training.checkpoint import (
    BRAIN,
    MODEL,
    init_prior,
    load_brain,
    new_decoupler,
)
from corticast_training.training.decoupler import DecouplerTask
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
from corticast_training.training.options import decoupler_config
from corticast_training.training.reached import Reached
from corticast_training.training.read import read_study
from corticast_training.training.report import check_stage_memory, say_outcome
from corticast_training.training.stage2 import PriorAndDecoupler
from corticast_training.training.state import write_tensors
from corticast_training.training.study import Study


def run(args: argparse.Namespace) -> None:
    """Trains, or goes on training. Raises `TrainingError` with what is to be put right."""
    brain, config, brain_facts = load_brain(args.brain)
    config, prepared = decoupler_config(args, config), prepared_folders(args.prepared)
    plan = config.decoupler
    with connected(
        devices=args.devices,
        nodes=args.nodes,
        strategy=args.strategy,
        precision=plan.precision,
        accelerator=args.accelerator,
    ) as fabric:
        on_first(fabric, lambda: refuse_existing(args.out, resume=args.resume))
        study = read_study(args.data, prepared, args.targets, config.sizes)
        _check_brain(args.brain, brain_facts, study)
        check_stage_memory(fabric, config, study, "decoupler", args.strategy)
        # What the brain model was not trained on, this stage is not either.
        chosen = np.isin(study.clips, brain_facts["held_out"])
        facts = study_facts(study, list(brain_facts["held_out"]))
        facts["subject"] = _in_order_of(brain_facts, facts["subject"])
        facts["brain"] = brain_facts["reached"]

        seed_torch(plan.seed, "decoupler", "weights")
        prior, decoupler = new_decoupler(config)
        for path, networks, only in (
            (args.init_prior, {"prior": prior}, ()),
            (args.init_caption, {"decoupler": decoupler}, ("decoupler.captioner",)),
        ):
            if path is not None and not goes_on(args.out, resume=args.resume):
                report = load_published(path, networks, only=only)
                if fabric.is_global_zero:
                    print(f"{path}: {report}")
        if args.init is not None:
            facts["init"] = init_prior(args.init, prior, decoupler)
        network = PriorAndDecoupler(
            prior,
            decoupler,
            study.projection,
            CosineSchedule(config.sizes.prior_steps),
            decoupled=plan.decoupled,
        )
        n_part = fabric.world_size * plan.accumulate
        task = DecouplerTask(plan, study, brain, network, chosen, n_part)

        def open_out() -> None:
            make_folder(args.out, config, resume=args.resume)
            copy_statistics(study, args.out)
            _link(args.brain / MODEL, args.out / BRAIN)

        def write_best(tensors: dict[str, Tensor], reached: Reached) -> None:
            own = {k: v for k, v in tensors.items() if k.startswith(("prior.", "decoupler."))}
            write_tensors(args.out / MODEL, own, {"epoch": str(reached.best_epoch + 1)})
            write_facts(args.out, "decoupler", facts, reached)

        on_first(fabric, open_out)
        loop = Loop(
            fabric,
            task,
            args.out,
            binding=binding(config, "decoupler", facts)
            | {"brain model": f"epoch {brain_facts['reached']['epoch']} of {brain_facts['date']}"},
            write_best=write_best,
            resume=args.resume,
        )
        reached = loop.run(args.max_steps)
        if fabric.is_global_zero:
            say_outcome(args.out, loop, reached, args.max_steps)


def _check_brain(folder: Path, facts: dict[str, Any], study: Study) -> None:
    """Raises `TrainingError` where the brain model was trained on something else."""
    known = {own["subject"]: own for own in facts["subject"]}
    for own in study.subjects:
        if own.subject not in known:
            raise TrainingError(
                f"{folder}: knows no subject {own.subject}, it has {', '.join(known)}"
            )
        found, expected = own.prepared.mask["hash"], known[own.subject]["mask"]["hash"]
        if found != expected:
            raise TrainingError(
                f"subject {own.subject}: prepared with mask {found}, "
                f"the brain model was trained with {expected}"
            )
        for section, settings in (
            ("signal", own.prepared.signal),
            ("normalise", own.prepared.normalise),
            ("stages", own.prepared.stages),
        ):
            trained = known[own.subject].get(section, {})
            # A stage that only one of the two has differs.
            others = trained.keys() if section == "stages" else set()
            for key in sorted(settings.keys() | others):
                value, before = settings.get(key), trained.get(key)
                if before != value:
                    raise TrainingError(
                        f"subject {own.subject}: prepared with {section}.{key} = {value!r}, "
                        f"the brain model was trained with {before!r}"
                    )
    if missing := [name for name in known if name not in study.n_voxel]:
        raise TrainingError(
            f"--prepared: subject {', '.join(missing)} is missing, expected all that the brain "
            f"model of {folder} was trained on: {', '.join(known)}"
        )
    if facts["targets"]["sha256"] != study.targets.sha256:
        raise TrainingError(
            f"{study.targets.folder}: other targets than those of the brain model, expected "
            f"sha256 {facts['targets']['sha256']}, found {study.targets.sha256}"
        )


def _in_order_of(
    brain_facts: dict[str, Any], subjects: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    found = {own["subject"]: own for own in subjects}
    return [found[own["subject"]] for own in brain_facts["subject"]]


def _link(source: Path, target: Path) -> None:
    """The same file by another name, or a copy where the file system cannot."""
    if target.exists() and target.samefile(source):
        return
    aside = target.with_name(f".{target.name}.new")
    aside.unlink(missing_ok=True)
    try:
        os.link(source, aside)
    except OSError:
        shutil.copyfile(source, aside)
    aside.rename(target)
