from pathlib import Path

import pytest

from corticast_training.config import Config
from corticast_training.errors import TrainingError


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("sizes.hidden", 0, "sizes.hidden is 0, expected 1 or more"),
        ("sizes.caption_heads", 0, "sizes.caption_heads is 0, expected 1 or more"),
        ("sizes.n_token", 15, "sizes.n_token is 15, expected a square number"),
        ("sizes.dropout", 1.0, "sizes.dropout is 1.0, expected 0 or more, below 1"),
        ("sizes.up_channels", [16, 0], r"up_channels: is \[16, 0\], expected a list of sizes"),
        ("brain.accumulate", 0, "brain.accumulate is 0, expected 1 or more"),
        ("brain.temperature", 0, "brain.temperature is 0.0, expected more than 0"),
        ("brain.epochs", -1, "brain.epochs: is -1, expected 0 or more"),
        ("decoupler.batch", 0, "decoupler.batch is 0, expected 1 or more"),
        ("decoupler.caption_dropout", 1.5, "expected 0 or more, below 1"),
        ("decoupler.epoch", 3, "decoupler.epoch: unknown, expected one of epochs"),
        ("decoupler.decoupled", 1, "decoupled: is 1, expected bool"),
    ],
)
def test_impossible_configs_are_refused(key: str, value: object, expected: str) -> None:
    with pytest.raises(TrainingError, match=expected):
        Config.load("tiny", {key: value})


def test_a_saved_config_is_read_as_it_was(tmp_path: Path) -> None:
    config = Config.load("small", {"brain.epochs": 7, "decoupler.text_keys": "batch"})
    config.save(tmp_path / "config.toml")
    assert Config.load(str(tmp_path / "config.toml")) == config
