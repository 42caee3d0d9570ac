"""The folder a training writes, and the choice between a new folder and resuming."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from corticast_training.config import Config
from corticast_training.errors import TrainingError
from corticast_training.training.checkpoint import CONFIG
from corticast_training.training.devices import agree
from corticast_training.training.state import last_checkpoint

# Those change when something is written, not what is computed.
FREE = ("checkpoint_every_steps",)


def goes_on(out: Path, *, resume: bool) -> bool:
    """Whether a training goes on in `out`."""
    return resume and last_checkpoint(out) is not None


def refuse_existing(out: Path, *, resume: bool) -> None:
    """Raises `TrainingError` where a new training would write into something else."""
    if resume or not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    raise TrainingError(f"{out}: exists, expected a new folder (--resume goes on in it)")


def make_folder(out: Path, config: Config, *, resume: bool) -> None:
    """Makes a new folder with its config."""
    if not goes_on(out, resume=resume):
        out.mkdir(parents=True, exist_ok=True)
        config.save(out / CONFIG)


def on_first(fabric: Fabric, what: Callable[[], None]) -> None:
    """Lets the first device write or check; where it fails, all of them end with its message."""
    failure = None
    if fabric.is_global_zero:
        try:
            what()
        except (TrainingError, OSError) as error:
            failure = str(error)
    agree(fabric, failure)


def binding(config: Config, stage: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint has to agree in before it goes on, key by key."""
    tables = config.tables()
    found = {
        f"{section}.{key}": list(value) if isinstance(value, tuple) else value
        for section in ("sizes", stage)
        for key, value in tables[section].items()
        if key not in FREE
    }
    found["targets"] = facts["targets"]["sha256"]
    for own in facts["subject"]:
        found[f"prepared data of subject {own['subject']}"] = own["prepared_sha256"]
    return found
