"""Both stages in parts, in half precision, in two processes, and asked to stop."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from corticast_training.cli import main
from corticast_training.training.brain import BrainTask
from corticast_training.training.state import last_checkpoint, load_state
from movie_study import Study, command, train

STEADY = {
    "brain": ("sizes.dropout=0.0",),
    "decoupler": tuple(
        f"decoupler.{part}_dropout=0.0" for part in ("attention", "decoder", "caption")
    ),
}
"""Without dropout, which draws anew for every part."""


def steps(out: Path) -> list[dict[str, float]]:
    """Every loss of every step."""
    with (out / "training.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    return [
        {name: float(row[name]) for name in row if row[name] and name != "split"} for row in rows
    ]


def of(stage: str, brain: Path) -> list[str]:
    """What a stage is told for a few steps without dropout."""
    more = ["--brain", str(brain)] if stage == "decoupler" else []
    return [*more, *(part for one in STEADY[stage] for part in ("--set", one)), "--max-steps", "4"]


def assert_same_losses(found: Path, expected: Path) -> None:
    assert len(steps(found)) == len(steps(expected)) == 4
    for own, other in zip(steps(found), steps(expected), strict=True):
        assert own == pytest.approx(other, rel=1e-5)
    # AdamW's steps forget how large gradients were; its moments do not.
    moments, others = (load_state(out / "checkpoint-00000004")[0] for out in (found, expected))
    for name, tensor in others.items():
        if name.endswith("/exp_avg"):
            # Mixer blocks of a single volume have no gradient but rounding: see `model.backbone`.
            bound = 1e-3 * tensor.abs().max().item() + 1e-5
            torch.testing.assert_close(moments[name], tensor, rtol=0, atol=bound, msg=name)


@pytest.fixture(scope="module")
def whole(study: Study, brain: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A few steps of each stage, the batch in one."""
    folder = tmp_path_factory.mktemp("whole")
    for stage in STEADY:
        train(stage, study, folder / stage, *of(stage, brain))
    return {stage: folder / stage for stage in STEADY}


@pytest.mark.parametrize("stage", ["brain", "decoupler"])
def test_a_batch_in_parts_has_the_losses_of_the_whole(
    stage: str, study: Study, brain: Path, whole: dict[str, Path], tmp_path: Path
) -> None:
    parts = ("--set", f"{stage}.accumulate=3")
    train(stage, study, tmp_path / "a", *of(stage, brain), *parts)
    assert_same_losses(tmp_path / "a", whole[stage])


def test_two_processes_have_the_losses_of_one(
    study: Study, brain: Path, whole: dict[str, Path], tmp_path: Path
) -> None:
    given = [*command("decoupler", study, tmp_path / "a"), *of("decoupler", brain)]
    program = [sys.executable, "-m", "corticast_training.cli", *given, "--devices", "2"]
    done = subprocess.run(
        program,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "memory on each of 2 devices" in done.stdout
    assert_same_losses(tmp_path / "a", whole["decoupler"])


@pytest.mark.parametrize("stage", ["brain", "decoupler"])
def test_half_precision_trains_close_to_single(
    stage: str, study: Study, brain: Path, whole: dict[str, Path], tmp_path: Path
) -> None:
    train(stage, study, tmp_path / "a", *of(stage, brain), "--precision", "bf16-mixed")
    first, single = steps(tmp_path / "a")[0], steps(whole[stage])[0]
    assert first["loss"] != single["loss"]
    assert first["loss"] == pytest.approx(single["loss"], rel=0.05)


def test_asked_to_stop_it_finishes_the_step_and_goes_on_to_the_same_end(
    study: Study, brain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, inner, calls = tmp_path / "a", BrainTask.losses, []

    def losses(self: BrainTask, *given: Any) -> Any:
        calls.append(1)
        if len(calls) == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return inner(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BrainTask, "losses", losses)
        assert main(command("brain", study, out)) == 1
    assert "stopped at step 7 of 15, --resume goes on" in capsys.readouterr().err
    kept = last_checkpoint(out)
    assert kept is not None and kept.name == "checkpoint-00000007"
    train("brain", study, out, "--resume")
    assert (out / "model.safetensors").read_bytes() == (brain / "model.safetensors").read_bytes()
