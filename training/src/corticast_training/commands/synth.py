"""`corticast-train synth`: a synthetic movie-watching data set with known truth."""

import argparse
import dataclasses
from typing import Any

from corticast_training.synth.dataset import PRESETS, write_dataset


def run(args: argparse.Namespace) -> None:
    """Writes the data set. Raises `TrainingError` on impossible sizes."""
    plan = PRESETS[args.preset]
    given: dict[str, Any] = {
        item.name: getattr(args, item.name, None)
        for item in dataclasses.fields(plan)
        if item.name != "preset" and getattr(args, item.name, None) is not None
    }
    plan = dataclasses.replace(plan, **given)
    write_dataset(args.out, plan, force=args.force)
    print(
        f"wrote {args.out}: {plan.train_clips} training clips in {plan.train_segments} segments, "
        f"{plan.test_clips} test clips in {plan.test_segments}, {plan.subjects} subjects"
    )
