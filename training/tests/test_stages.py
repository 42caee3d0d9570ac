"""Both stages through the command line, on a small synthetic study."""

import csv
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tensorboard.backend.event_processing import (  # type: ignore[import-untyped]
    event_accumulator,
)
from torch import Tensor

from corticast_training.cli import main
from corticast_training.config import Config
from corticast_training.model import memory
from corticast_training.training.checkpoint import load_brain, load_decoupler
from corticast_training.training.facts import read_facts
from corticast_training.training.state import last_checkpoint, load_state
from movie_study import EPOCHS, PER_EPOCH, Study, command, train


def rows(out: Path, split: str) -> list[dict[str, str]]:
    with (out / "training.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def assert_same_weights(found: Path, expected: Path) -> None:
    """Bit by bit: the best weights, and the last ones with their moments."""
    pairs = [(found / "model.safetensors", expected / "model.safetensors")]
    last, other = last_checkpoint(found), last_checkpoint(expected)
    assert last is not None and other is not None and last.name == other.name
    pairs.append((last / "last.safetensors", other / "last.safetensors"))
    for own, wanted in pairs:
        assert own.read_bytes() == wanted.read_bytes(), own.name
    assert (found / "training.csv").read_bytes() == (expected / "training.csv").read_bytes()


@contextmanager
def files_of_at_most(n_byte: int) -> Iterator[None]:
    """As on a full disk, every file ends here: a write beyond it fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_byte, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_model_says_what_it_was_made_with_and_how_it_went(study: Study, brain: Path) -> None:
    assert Config.load(str(brain / "config.toml")) == Config.load(str(study.config))
    _, _, facts = load_brain(brain)
    assert [own["mask"]["n_voxel"] for own in facts["subject"]] == [128, 64]
    steps, epochs = rows(brain, "train"), rows(brain, "validation")
    assert [int(row["step"]) for row in steps] == list(range(1, EPOCHS * PER_EPOCH + 1))
    assert [int(row["step"]) for row in epochs] == [PER_EPOCH * k for k in range(1, EPOCHS + 1)]
    for row in steps:
        total = float(row["bimixco"]) + 0.25 * float(row["text"])
        assert float(row["loss"]) == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("stage", ["brain", "decoupler"])
def test_tensorboard_shows_what_the_csv_says(stage: str, request: pytest.FixtureRequest) -> None:
    out: Path = request.getfixturevalue(stage)
    board = event_accumulator.EventAccumulator(str(out / "tensorboard"))
    board.Reload()
    for split, name in (("train", "loss"), ("validation", "retrieval_top1")):
        shown = {event.step: event.value for event in board.Scalars(f"{split}/{name}")}
        written = {int(row["step"]): float(row[name]) for row in rows(out, split)}
        assert shown == pytest.approx(written)


def test_subjects_share_the_backbone_and_have_ridges_of_their_own(brain: Path) -> None:
    shapes = {name: list(t.shape) for name, t in load_file(brain / "model.safetensors").items()}
    ridges = {name: shape for name, shape in shapes.items() if name.startswith("ridge")}
    assert ridges == {
        "ridge.linears.sub-01.weight": [32, 128],
        "ridge.linears.sub-01.bias": [32],
        "ridge.linears.sub-02.weight": [32, 64],
        "ridge.linears.sub-02.bias": [32],
    }
    assert not any("sub-" in name for name in shapes if not name.startswith("ridge"))


def test_cut_at_any_step_and_resumed_stage_1_equals_uncut(
    study: Study, brain: Path, tmp_path: Path
) -> None:
    for cut in (1, 4, 5, 13):
        out = tmp_path / str(cut)
        train("brain", study, out, "--max-steps", str(cut))
        assert len(rows(out, "train")) == cut
        train("brain", study, out, "--resume")
        assert_same_weights(out, brain)


def test_cut_twice_and_resumed_stage_2_equals_uncut(
    study: Study, brain: Path, decoupler: Path, tmp_path: Path
) -> None:
    more = ("--brain", str(brain))
    train("decoupler", study, tmp_path / "a", *more, "--max-steps", "3")
    train("decoupler", study, tmp_path / "a", *more, "--resume", "--max-steps", "6")
    train("decoupler", study, tmp_path / "a", *more, "--resume")
    assert_same_weights(tmp_path / "a", decoupler)


def test_of_all_checkpoints_the_last_is_kept(brain: Path, decoupler: Path) -> None:
    for out, n_step in ((brain, 15), (decoupler, 10)):
        kept = [path.name for path in out.glob("checkpoint-*")]
        assert kept == [f"checkpoint-{n_step:08d}"]


def test_the_best_epoch_by_retrieval_is_kept(brain: Path) -> None:
    scores = [
        (float(row["retrieval_top1"]), -float(row["loss"])) for row in rows(brain, "validation")
    ]
    best = scores.index(max(scores)) + 1
    with safe_open(brain / "model.safetensors", "pt") as file:
        assert file.metadata() == {"epoch": str(best)}
    facts = read_facts(brain, "brain")
    assert facts["reached"]["epoch"] == best
    assert facts["reached"]["metrics"]["retrieval_top1"] == scores[best - 1][0]


def test_a_training_that_no_longer_gets_better_stops_early(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Without a learning rate no epoch is better than the first.
    changes = ("max_learning_rate=0", "patience_epochs=1", "weight_decay=0")
    more = [part for change in changes for part in ("--set", f"brain.{change}")]
    train("brain", study, tmp_path / "a", *more)
    assert len(rows(tmp_path / "a", "validation")) == 2
    assert "stopped after 2 epochs: no better score in 1" in capsys.readouterr().out
    assert read_facts(tmp_path / "a", "brain")["reached"]["epoch"] == 1


def test_a_disk_that_fills_up_leaves_the_last_checkpoint_and_training_goes_on(
    study: Study, brain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a"
    train("brain", study, out, "--max-steps", "4")
    kept = last_checkpoint(out)
    assert kept is not None
    tensors, _ = load_state(kept)
    # The weights of the best epoch still fit; weights with their moments do not.
    with files_of_at_most((kept / "last.safetensors").stat().st_size // 2):
        assert main([*command("brain", study, out), "--resume"]) == 1
    said = capsys.readouterr().err
    assert "checkpoint-00000004 is kept" in said and "Make room on the disk" in said
    after, _ = load_state(kept)
    assert all(torch.equal(after[name], tensor) for name, tensor in tensors.items())
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []
    train("brain", study, out, "--resume")
    assert_same_weights(out, brain)


def test_a_disk_that_is_full_from_the_start_leaves_no_half_model(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a"
    with files_of_at_most(20_000):
        assert main(command("brain", study, out)) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert last_checkpoint(out) is None and not (out / "model.safetensors").exists()


@pytest.mark.parametrize("stage", ["brain", "decoupler"])
def test_too_little_memory_is_said_before_anything_is_written(
    stage: str,
    study: Study,
    brain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 500_000)
    more = ["--brain", str(brain)] if stage == "decoupler" else []
    assert main([*command(stage, study, tmp_path / "a"), *more]) == 1
    said = capsys.readouterr().err
    assert f"not enough memory: stage {stage} takes about" in said
    assert "0.5 MB are free on cpu" in said
    assert not (tmp_path / "a").exists()


def test_a_checkpoint_of_another_size_is_refused_and_stays(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a"
    train("brain", study, out, "--max-steps", "2")
    before = (out / "checkpoint-00000002" / "last.safetensors").read_bytes()
    assert main([*command("brain", study, out), "--resume", "--set", "sizes.hidden=16"]) == 1
    assert "sizes.hidden is 32, expected 16" in capsys.readouterr().err
    assert (out / "checkpoint-00000002" / "last.safetensors").read_bytes() == before
    assert Config.load(str(out / "config.toml")).sizes.hidden == 32


def test_a_brain_model_of_another_size_than_its_config_is_refused(
    study: Study, brain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "brain"
    shutil.copytree(brain, other)
    Config.load(str(study.config), {"sizes.hidden": 16}).save(other / "config.toml")
    more = ["--brain", str(other)]
    assert main([*command("decoupler", study, tmp_path / "a"), *more]) == 1
    said = capsys.readouterr().err
    assert "weights of another network or size" in said and "expected [16, 128]" in said


def test_stage_2_leaves_the_brain_model_as_it_is(brain: Path, decoupler: Path) -> None:
    whole = (brain / "model.safetensors").read_bytes()
    assert (decoupler / "brain.safetensors").read_bytes() == whole
    model, _, _, config, facts = load_decoupler(decoupler)
    assert not model.training and facts["held_out"] == read_facts(brain, "brain")["held_out"]
    assert config == Config.load(str(brain / "config.toml"))


def test_without_the_four_tasks_their_weights_stay_as_they_began(
    study: Study, brain: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a"
    more = ("--brain", str(brain), "--set", "decoupler.decoupled=false")
    train("decoupler", study, out, *more, "--max-steps", "3")
    assert set(rows(out, "train")[0]) >= {"prior", "clip", "text"}
    assert "caption" not in rows(out, "train")[0]

    def weights(step: int) -> dict[str, Tensor]:
        tensors, _ = load_state(out / f"checkpoint-{step:08d}")
        return {k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")}

    before = weights(3)
    train("decoupler", study, out, *more, "--resume", "--max-steps", "5")
    after = weights(5)
    moved = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert "motion" in moved
    assert not moved & {"concepts", "regions", "captioner"}


def test_an_existing_folder_is_not_written_into(
    study: Study, brain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command("brain", study, brain)) == 1
    assert "exists, expected a new folder (--resume goes on in it)" in capsys.readouterr().err
