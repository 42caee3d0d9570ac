"""`corticast-train`: one subcommand a module of `commands/`.

A command module has `add_arguments(parser)`, `run(args)` and, where an example helps, an
`EPILOG`. It is imported only when it is called, so that training a linear decoder never needs
what a network needs. Dashes in a command's name are underscores in its module's.
Exit codes: 0 fine, 1 failed, 2 bad arguments.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from corticast_training.errors import TrainingError

COMMANDS = {
    "synth": "write a synthetic movie-watching data set with known truth",
    "cc2017": "read the public cc2017 data set into the form that training reads",
    "labels": "caption clips, segment what is in them, and find their key objects",
    "voxels": "choose the voxels that repeat (inter-repetition selection), as a mask",
    "targets": "make what the networks learn to decode, from frames and captions",
    "brain": "stage 1: train the brain model, from BOLD to image tokens",
    "decoupler": "stage 2: train the diffusion prior and the decoupler on it",
    "export": "write a trained model as ONNX and the manifest that the daemon reads",
    "evaluate": "score decoded results: a table, JSON and an HTML report",
    "baseline": "decode with a simpler method, for evaluate to compare with",
    "interpret": "which task each voxel serves: per-voxel weights, ridge, maps",
    "export-animatediff": "export pretrained video networks from local folders",
    "tiny-video": "train tiny video networks of the same interfaces and export them",
    "linear": "train a linear decoder (ridge or multinomial logistic) and export it",
}
EPILOG = """\
from a scanner's recording to a model in the daemon, in this order (`corticast` is the daemon):
  synth or cc2017, labels    a movie data set: clips, captions, key objects, BOLD
  voxels                     a mask for each subject
  corticast prepare          the daemon's own signal path over the runs
  targets                    what the networks shall give
  brain, decoupler           the two stages of training
  export                     ONNX and a manifest; corticast check --model reads it
  corticast replay           the test runs through the daemon
  evaluate                   figures and pictures

corticast-train COMMAND --help shows an example of each. `linear` needs prepared runs only.
Exit codes: 0 fine, 1 failed, 2 bad arguments.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        prog="corticast-train",
        description="Trains the models of Corticast and exports them for the daemon.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in argv[:1]:
            command = _command(name)
            command.add_arguments(subparser)
            subparser.epilog = getattr(command, "EPILOG", None)
    args = parser.parse_args(argv)
    command = _command(args.command)
    try:
        command.run(args)
    except (TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _command(name: str) -> ModuleType:
    return importlib.import_module(f"corticast_training.commands.{name.replace('-', '_')}")


if __name__ == "__main__":
    sys.exit(main())
