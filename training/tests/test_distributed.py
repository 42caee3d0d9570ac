import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from corticast_training.training.state import last_checkpoint

TOY = Path(__file__).parent / "toy_training.py"
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")


def toy(out: Path, *arguments: str, launcher: tuple[str, ...] = ()) -> Path:
    command = [sys.executable, *launcher, str(TOY), str(out), "--dropout=0", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stderr
    return out


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "training.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_losses(found: Path, expected: Path) -> None:
    assert len(rows(found)) == len(rows(expected)) == 24
    for own, other in zip(rows(found), rows(expected), strict=True):
        for name in ("loss", "contrast", "error"):
            if other[name]:
                assert float(own[name]) == pytest.approx(float(other[name]), rel=1e-5), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy(tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize(
    "options",
    [
        ("--devices=2", "--accumulate=2"),
        ("--devices=2", "--strategy=fsdp", "--accumulate=2"),
    ],
    ids=lambda options: " ".join(options),
)
def test_two_processes_give_the_losses_and_weights_of_one(
    tmp_path: Path, alone: Path, options: tuple[str, ...]
) -> None:
    out = toy(tmp_path, *options)
    assert_same_losses(out, alone)
    expected = load_file(alone / "model.safetensors")
    found = load_file(out / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5, msg=name)


def test_torchrun_starts_the_processes(tmp_path: Path, alone: Path) -> None:
    assert_same_losses(toy(tmp_path, launcher=TORCHRUN), alone)


def test_a_sharded_checkpoint_goes_on_on_one_process(tmp_path: Path, alone: Path) -> None:
    out = toy(tmp_path, "--devices=2", "--strategy=fsdp", "--max-steps=12")
    found = last_checkpoint(out)
    assert found is not None and found.name == "checkpoint-00000012"
    assert_same_losses(toy(out, "--resume"), alone)


def test_a_checkpoint_of_one_process_goes_on_sharded(tmp_path: Path, alone: Path) -> None:
    out = toy(tmp_path, "--max-steps=12")
    assert_same_losses(toy(out, "--resume", "--devices=2", "--strategy=fsdp"), alone)
