"""Configs of both stages from their options."""

import argparse
import tomllib
from typing import Any

from corticast_training.config import Config
from corticast_training.errors import TrainingError
from corticast_training.training.checkpoint import CONFIG


def overrides(settings: list[str]) -> dict[str, Any]:
    """`section.key=value`, the value as in TOML; what is no TOML is text."""
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise TrainingError(f"--set {setting}: expected SECTION.KEY=VALUE")
        try:
            found[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = text
    return found


def brain_config(args: argparse.Namespace) -> Config:
    """The config of stage 1: of --preset, or of the folder that it goes on in."""
    changed = overrides(args.set)
    if args.precision is not None:
        changed["brain.precision"] = args.precision
    kept = args.out / CONFIG
    if args.preset is None and not (args.resume and kept.is_file()):
        raise TrainingError("--preset is missing, expected tiny, small, paper or a config file")
    return Config.load(args.preset or str(kept), changed)


def decoupler_config(args: argparse.Namespace, config: Config) -> Config:
    """The config of stage 2: of the brain model, or of the folder that it goes on in."""
    changed = overrides(args.set)
    if args.precision is not None:
        changed["decoupler.precision"] = args.precision
    kept = args.out / CONFIG
    tables = config.tables()
    if args.resume and kept.is_file():
        tables["decoupler"] = Config.load(str(kept)).tables()["decoupler"]
    for name, value in changed.items():
        section, _, key = name.partition(".")
        if section != "decoupler" or not key:
            raise TrainingError(
                f"--set {name}: expected decoupler.KEY: the rest is the brain model's"
            )
        tables["decoupler"][key] = value
    return Config.from_tables(tables, "--set")
