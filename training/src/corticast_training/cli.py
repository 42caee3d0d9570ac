"""`corticast-train`: reads the command line and runs one command.

A command is two modules of one name: `options/` says what it takes and needs the standard library
only, `commands/` does the work and is imported when it is called. So help always works, and
training a linear decoder never needs what a network needs. `COMMANDS` says which set of packages
each command needs; where a package is missing, the message names the make target that installs it.
Exit codes: 0 fine, 1 failed, 2 bad arguments.
"""

import argparse
import importlib
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from corticast_training.errors import TrainingError


@dataclass(frozen=True)
class Command:
    """What a command does, and which `training/requirements-SET.txt` is enough for all of it."""

    packages: str
    summary: str

    @property
    def target(self) -> str:
        """What installs its packages."""
        return f"make .venv/{self.packages}.stamp"


COMMANDS = {
    "synth": Command("linear", "write a synthetic movie-watching data set with known truth"),
    "cc2017": Command("train", "read the public cc2017 data set into the form that training reads"),
    "labels": Command("train", "caption clips, segment what is in them, and find key objects"),
    "voxels": Command("train", "choose the voxels that repeat (inter-repetition), as a mask"),
    "targets": Command("train", "make what the networks learn to decode, from frames and captions"),
    "brain": Command("train", "stage 1: train the brain model, from BOLD to image tokens"),
    "decoupler": Command("train", "stage 2: train the diffusion prior and the decoupler on it"),
    "export": Command("train", "write a trained model as ONNX and the daemon's manifest"),
    "evaluate": Command("train", "score decoded results: a table, JSON and an HTML report"),
    "baseline": Command("train", "decode with a simpler method, for evaluate to compare with"),
    "interpret": Command("train", "which task each voxel serves: per-voxel weights, ridge, maps"),
    "export-animatediff": Command("train", "export pretrained video networks from local folders"),
    "tiny-video": Command("train", "train and export tiny video networks of the same interfaces"),
    "linear": Command("linear", "train and export a linear decoder (ridge or logistic)"),
    "project": Command("linear", "map today's scan to a model's voxels, vertices or parcels"),
}
EPILOG = """\
from a scanner's recording to a model in the daemon, in this order (`corticast` is the daemon):
  synth or cc2017, labels    a movie data set: clips, captions, key objects, BOLD
  voxels                     a mask for each subject
  corticast prepare          the daemon's own signal path over the runs
  targets                    what the networks learn to decode
  brain, decoupler           the two stages of training
  export                     ONNX and a manifest; corticast check --model reads it
  corticast replay           the test runs through the daemon
  evaluate                   figures and pictures

corticast-train COMMAND --help shows an example of each. `linear` needs prepared runs only.
"""
EXIT_CODES = "Exit codes: 0 fine, 1 failed, 2 bad arguments."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = _parser(argv).parse_args(argv)
    try:
        _module("commands", args.command).run(args)
    except (TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        if (error.name or "").startswith("corticast_training"):
            raise  # a fault of this package, not of what is installed
        print(f"error: {_missing(args.command, error)}", file=sys.stderr)
        return 1
    return 0


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="corticast-train",
        description="Trains the models of Corticast and exports them for the daemon.",
        epilog=f"{EPILOG}\n{_packages()}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(
            name,
            help=command.summary,
            description=command.summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in argv[:1]:
            options = _module("options", name)
            options.add_arguments(subparser)
            example = getattr(options, "EPILOG", "")
            needs = f"{name} needs the packages of `{command.target}`."
            subparser.epilog = f"{example}\n{needs}".lstrip()
    return parser


def _packages() -> str:
    """Which make target brings the packages of which commands."""
    lines = ["packages, installed from the folder of the repository:"]
    for target in sorted({command.target for command in COMMANDS.values()}):
        names = [name for name, command in COMMANDS.items() if command.target == target]
        lines += textwrap.wrap(
            ", ".join(names),
            width=90,
            initial_indent=f"  {target:<27}",
            subsequent_indent=" " * 29,
            break_on_hyphens=False,
        )
    return "\n".join(lines) + "\n"


def _missing(name: str, error: ImportError) -> str:
    """What a command says when it cannot import what it needs."""
    package = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and package:
        found = f"missing: {package}"
    else:
        found = f"found one that does not load: {error}"
    return f"corticast-train {name} needs the packages of `{COMMANDS[name].target}` ({found})"


def _module(kind: str, command: str) -> ModuleType:
    return importlib.import_module(f"corticast_training.{kind}.{command.replace('-', '_')}")


if __name__ == "__main__":
    sys.exit(main())
