"""Options that both stages of training share."""

import argparse
from pathlib import Path

from corticast_training.choices import STRATEGIES, TRAINING_PRECISIONS
from corticast_training.data.inputs import add_inputs


def add_common(parser: argparse.ArgumentParser) -> None:
    """Data, output and devices."""
    add_inputs(parser, "data", "prepared", "targets")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the new model"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change one value of the config, such as brain.epochs=5; repeatable",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue exactly from the last checkpoint in --out, if there is one",
    )
    parser.add_argument(
        "--max-steps", type=int, metavar="N", help="stop after step N; --resume continues"
    )
    devices = parser.add_argument_group("devices")
    devices.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto")
    devices.add_argument(
        "--devices",
        type=int,
        metavar="N",
        help="devices of this machine (default: torchrun's, or 1)",
    )
    devices.add_argument("--nodes", type=int, metavar="N", help="machines (default: torchrun's)")
    devices.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default="ddp",
        help="ddp: every device has all weights; fsdp: weights are split (default: ddp)",
    )
    devices.add_argument(
        "--precision",
        choices=TRAINING_PRECISIONS,
        help="default: the config's; bf16-mixed on CUDA",
    )
