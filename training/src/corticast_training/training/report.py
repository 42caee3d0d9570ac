"""Messages of a training before it starts and when it ends."""

from pathlib import Path

from lightning_fabric import Fabric

from corticast_training.config import Config
from corticast_training.errors import TrainingError
from corticast_training.model.memory import check_memory, estimate
from corticast_training.training.loop import Loop
from corticast_training.training.reached import Reached
from corticast_training.training.study import Study


def check_stage_memory(
    fabric: Fabric, config: Config, study: Study, stage: str, strategy: str
) -> None:
    """Says what one device will need and raises `TrainingError` where it has not as much."""
    plan = config.brain if stage == "brain" else config.decoupler
    world = fabric.world_size
    needed = estimate(
        config.sizes,
        study.n_voxel,
        study.window_volumes,
        stage=stage,
        batch=-(-plan.batch // (world * plan.accumulate)),
        precision=plan.precision,
        n_shard=world if strategy == "fsdp" else 1,
    )
    if fabric.is_global_zero:
        voxels = ", ".join(f"sub-{name} {count}" for name, count in study.n_voxel.items())
        print(f"subjects and voxels: {voxels}; {len(study.clips)} clips")
        print(f"memory on each of {world} devices: {needed}")
    # Devices of one CPU share its memory.
    here = world if fabric.device.type == "cpu" else 1
    check_memory(needed.training * here, fabric.device, f"stage {stage}")


def say_outcome(out: Path, loop: Loop, reached: Reached, max_steps: int | None) -> None:
    """Prints where a training ended; raises `TrainingError` if it was stopped."""
    plan = loop.plan
    if not reached.finished:
        where = f"{out}: stopped at step {reached.step} of {loop.n_step}, --resume goes on"
        if max_steps is None:
            raise TrainingError(where)
        print(where)
        return
    epochs = reached.step // loop.task.batches.per_epoch
    if epochs < plan.epochs:
        print(f"stopped after {epochs} epochs: no better score in {plan.patience_epochs}")
    shown = ", ".join(f"{name} {value:.4g}" for name, value in reached.best_metrics.items())
    best = f", best in epoch {reached.best_epoch + 1}: {shown}" if shown else ""
    print(f"wrote {out}{best}")
