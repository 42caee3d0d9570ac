import csv
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from corticast_training.errors import TrainingError
from corticast_training.training.state import last_checkpoint, load_state
from toy_training import ToyTask, loop, plan

TOY = Path(__file__).parent / "toy_training.py"
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


def toy(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOY), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, **options)  # type: ignore[call-overload, no-any-return]


def train(out: Path, *, dropout: float = 0.15, **changes: float) -> Path:
    schedule = plan(**changes)
    loop(out, ToyTask(schedule, schedule.accumulate, dropout)).run()
    return out


def last(out: Path) -> Path:
    found = last_checkpoint(out)
    assert found is not None
    return found


def train_losses(out: Path) -> list[float]:
    with (out / "training.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row["split"] == "train"]


def assert_same(cut: Path, uncut: Path) -> None:
    for name in ("model.safetensors", "training.csv"):
        assert (cut / name).read_bytes() == (uncut / name).read_bytes(), name
    for name in ("last.safetensors", "state.json"):
        assert (last(cut) / name).read_bytes() == (last(uncut) / name).read_bytes(), name


def test_it_learns(tmp_path: Path) -> None:
    losses = train_losses(train(tmp_path, epochs=30))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("cut", [1, 5, 8, 10, 19])
def test_cut_at_any_step_and_resumed_equals_uncut_to_the_byte(tmp_path: Path, cut: int) -> None:
    uncut = train(tmp_path / "uncut")
    schedule = plan()
    loop(tmp_path / "cut", ToyTask(schedule, 1, 0.15)).run(cut)
    reached = loop(tmp_path / "cut", ToyTask(schedule, 1, 0.15), resume=True).run()
    assert reached.step == 20 and reached.finished
    assert_same(tmp_path / "cut", uncut)


def test_killed_in_the_middle_of_a_step_and_resumed_equals_uncut(tmp_path: Path) -> None:
    toy(str(tmp_path / "uncut"), check=True)
    killed = toy(str(tmp_path / "cut"), "--kill-after", "11")
    assert killed.returncode == -9
    # The last checkpoint is of step 9; rows of later steps are taken back.
    assert last(tmp_path / "cut").name == "checkpoint-00000009"
    assert len(train_losses(tmp_path / "cut")) == 11
    toy(str(tmp_path / "cut"), "--resume", check=True)
    assert_same(tmp_path / "cut", tmp_path / "uncut")


def test_resuming_a_finished_training_changes_nothing(tmp_path: Path) -> None:
    out = train(tmp_path)
    before = (out / "model.safetensors").read_bytes()
    reached = loop(out, ToyTask(plan(), 1, 0.15), resume=True).run()
    assert reached.step == 20
    assert (out / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_parts_give_the_loss_and_weights_of_the_whole_batch(
    tmp_path: Path, parts: int
) -> None:
    whole = train(tmp_path / "whole", dropout=0.0)
    split = train(tmp_path / "split", dropout=0.0, accumulate=parts)
    assert train_losses(split) == pytest.approx(train_losses(whole), rel=1e-5)
    found, expected = (load_file(last(out) / "last.safetensors") for out in (split, whole))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-6, msg=name)


def test_parts_with_dropout_drop_the_same_units_in_both_passes(tmp_path: Path) -> None:
    # The cached embeddings must be those that the gradient goes through: a part's own rows,
    # put in place again, change nothing.
    task = ToyTask(plan(accumulate=2), 2, 0.5)
    training = loop(tmp_path, task)
    seen: list[torch.Tensor] = []
    inner = task.losses

    def losses(batch, rows, outputs, everyone):  # type: ignore[no-untyped-def]
        seen.append(everyone["tokens"].detach())
        return inner(batch, rows, outputs, everyone)

    task.losses = losses  # type: ignore[method-assign]
    training.run(1)
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=0)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    loop(tmp_path, ToyTask(plan(), 1, 0.0)).run(5)
    with pytest.raises(TrainingError, match=r"width is 6, expected 8"):
        loop(tmp_path, ToyTask(plan(), 1, 0.0, width=8), resume=True, width=8)


def test_weights_of_another_size_are_refused_with_found_and_expected(tmp_path: Path) -> None:
    loop(tmp_path, ToyTask(plan(), 1, 0.0)).run(5)
    with pytest.raises(TrainingError, match=r"ridge.0.weight is \[6, 5\], expected \[8, 5\]"):
        loop(tmp_path, ToyTask(plan(), 1, 0.0, width=8), resume=True)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    loop(tmp_path, ToyTask(plan(), 1, 0.0)).run(5)
    path = last(tmp_path) / "last.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(TrainingError, match="not a checkpoint that can be read"):
        loop(tmp_path, ToyTask(plan(), 1, 0.0), resume=True)


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    loop(tmp_path, ToyTask(plan(), 1, 0.15)).run(4)
    before = load_state(last(tmp_path))

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))

    failed = toy(str(tmp_path), "--resume", preexec_fn=full)
    assert failed.returncode == 1
    assert "checkpoint-00000004 is kept" in failed.stderr
    assert "--resume" in failed.stderr and "Traceback" not in failed.stderr
    after = load_state(last(tmp_path))
    assert after[1] == before[1]
    for name, tensor in before[0].items():
        torch.testing.assert_close(after[0][name], tensor, rtol=0, atol=0)
    toy(str(tmp_path), "--resume", check=True)
    train(tmp_path / "uncut")
    assert_same(tmp_path, tmp_path / "uncut")


def test_patience_ends_a_training_that_no_longer_gets_better(tmp_path: Path) -> None:
    task = ToyTask(plan(patience_epochs=2, epochs=10), 1, 0.0)
    errors = iter([5.0, 3.0, 4.0, 3.0, 1.0])
    task.validate = lambda network: {"error": next(errors)}  # type: ignore[method-assign]
    reached = loop(tmp_path, task).run()
    assert reached.step == 20 and reached.best_epoch == 1 and reached.best == [-3.0]


def test_the_best_weights_are_kept_not_the_last(tmp_path: Path) -> None:
    task = ToyTask(plan(), 1, 0.0)
    errors = iter([5.0, 3.0, 4.0, 3.5])
    task.validate = lambda network: {"error": next(errors)}  # type: ignore[method-assign]
    loop(tmp_path, task).run()
    loop(tmp_path / "two", ToyTask(plan(), 1, 0.0)).run(10)
    best = load_file(tmp_path / "model.safetensors")
    at_two_epochs, _ = load_state(last(tmp_path / "two"))
    for name, tensor in best.items():
        torch.testing.assert_close(at_two_epochs[f"model/{name}"], tensor, rtol=0, atol=0)


def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path) -> None:
    task = ToyTask(plan(), 1, 0.0)
    task.truth[5] = float("nan")
    with pytest.raises(TrainingError, match=r"toy.max_learning_rate lower"):
        loop(tmp_path, task).run()


def test_the_rate_rises_for_two_epochs_and_ends_a_thousandth_of_the_first(tmp_path: Path) -> None:
    train(tmp_path, epochs=10)
    with (tmp_path / "training.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates[9] == max(rates) == pytest.approx(0.02)
    assert rates[0] == pytest.approx(0.02 / 25)
    assert rates[-1] == pytest.approx(0.02 / 25 / 1000)
