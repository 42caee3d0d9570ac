"""Trained models out of their folders.

```text
OUT/config.toml          sizes and schedules
OUT/training.toml        facts (`facts.py`)
OUT/model.safetensors    the best weights: stage 1 the brain model's, stage 2 `prior.`, `decoupler.`
OUT/brain.safetensors    stage 2: the frozen brain model's
OUT/checkpoint-*/        where training stands (`state.py`), only to go on
```
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from corticast_training.config import Config
from corticast_training.errors import TrainingError
from corticast_training.model.brain import BrainModel
from corticast_training.model.decoupler import Decoupler
from corticast_training.model.prior import Prior
from corticast_training.training.facts import read_facts
from corticast_training.training.weights import check_sizes

CONFIG, MODEL, BRAIN = "config.toml", "model.safetensors", "brain.safetensors"


def load_brain(folder: Path) -> tuple[BrainModel, Config, dict[str, Any]]:
    """The brain model of a stage 1 folder, on the CPU and set to decode; config and facts."""
    facts = read_facts(folder, "brain")
    config = Config.load(str(folder / CONFIG))
    return brain_from(folder / MODEL, config, facts), config, facts


def load_decoupler(folder: Path) -> tuple[BrainModel, Prior, Decoupler, Config, dict[str, Any]]:
    """All networks of a stage 2 folder, on the CPU and set to decode; config and facts."""
    facts = read_facts(folder, "decoupler")
    config = Config.load(str(folder / CONFIG))
    brain = brain_from(folder / BRAIN, config, facts)
    prior, decoupler = new_decoupler(config)
    tensors = read_weights(folder / MODEL)
    expected = {f"prior.{name}": value for name, value in prior.state_dict().items()}
    expected |= {f"decoupler.{name}": value for name, value in decoupler.state_dict().items()}
    check_sizes(tensors, expected, folder / MODEL)
    prior.load_state_dict(_below(tensors, "prior."), assign=True)
    decoupler.load_state_dict(_below(tensors, "decoupler."), assign=True)
    return brain, prior.eval(), decoupler.eval(), config, facts


def brain_from(path: Path, config: Config, facts: Mapping[str, Any]) -> BrainModel:
    """The brain model of a file, for the subjects that the facts name."""
    tensors = read_weights(path)
    n_voxel = {own["subject"]: own["mask"]["n_voxel"] for own in facts["subject"]}
    sizes = config.sizes
    # Without memory of its own: a large model is mapped from its file, not made and replaced.
    with torch.device("meta"):
        projection = torch.empty(sizes.channels, sizes.text_dim)
        brain = BrainModel(sizes, n_voxel, facts["window_volumes"], projection)
    check_sizes(tensors, brain.state_dict(), path)
    brain.load_state_dict(tensors, assign=True)
    return brain.eval()


def new_decoupler(config: Config) -> tuple[Prior, Decoupler]:
    """Prior and decoupler with new weights."""
    plan = config.decoupler
    decoupler = Decoupler(
        config.sizes,
        attention_dropout=plan.attention_dropout,
        decoder_dropout=plan.decoder_dropout,
        caption_dropout=plan.caption_dropout,
        text_keys=plan.text_keys,
    )
    return Prior(config.sizes), decoupler


def init_prior(folder: Path, prior: Prior, decoupler: Decoupler) -> dict[str, Any]:
    """Gives both the weights of a stage 2 folder's prior and motion projection.

    Returns what that training reached.
    """
    facts = read_facts(folder, "decoupler")
    tensors = read_weights(folder / MODEL)
    for part, network in (("prior.", prior), ("decoupler.motion.", decoupler.motion)):
        own = _below(tensors, part)
        check_sizes(own, network.state_dict(), folder / MODEL)
        network.load_state_dict(own)
    return {"date": facts["date"], **facts["reached"]}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, mapped where the platform allows."""
    if not path.is_file():
        raise TrainingError(f"{path}: missing")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise TrainingError(f"{path}: not a safetensors file: {error}") from error


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
