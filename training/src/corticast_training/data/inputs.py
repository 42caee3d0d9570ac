"""Options that say what a command reads: a movie data set, its prepared BOLD, its targets."""

import argparse
from pathlib import Path
from typing import Any

from corticast_training.errors import TrainingError

_OPTIONS: dict[str, dict[str, Any]] = {
    "data": {
        "type": Path,
        "metavar": "DATA",
        "help": "movie data set, such as `synth` or `cc2017` write",
    },
    "prepared": {
        "action": "append",
        "metavar": "SUBJECT=DIR",
        "help": "folder that `corticast prepare` wrote for a subject, such as 01=prepared/sub-01; "
        "repeatable",
    },
    "targets": {"type": Path, "metavar": "TARGETS", "help": "folder that `targets` wrote for DATA"},
}


def add_inputs(parser: argparse.ArgumentParser, *names: str) -> None:
    """Declares those of `data`, `prepared` and `targets` that a command needs."""
    for name in names:
        parser.add_argument(f"--{name}", required=True, **_OPTIONS[name])


def prepared_folders(given: list[str]) -> dict[str, Path]:
    """Subject → folder of `--prepared`, in the order given."""
    found: dict[str, Path] = {}
    for item in given:
        subject, equals, folder = item.partition("=")
        subject = subject.removeprefix("sub-")
        if not equals or not subject or not folder:
            raise TrainingError(f"--prepared {item}: expected SUBJECT=DIR, such as 01=prepared/01")
        if subject in found:
            raise TrainingError(f"--prepared: subject {subject} is given twice, expected once")
        found[subject] = Path(folder)
    return found
