from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import MakeRun
from corticast_training.cli import main


def error_of(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """Trains, expects a failure that leaves nothing behind, and returns its message."""
    out = tmp_path / "model"
    arguments = ["--data", str(data), "--out", str(out), "--target", "trial_type", *more]
    assert main(["linear", *arguments]) == 1
    assert not out.exists()
    return capsys.readouterr().err


def nan(tensors: dict[str, Any]) -> None:
    tensors["windows"][7, 0, 3] = np.nan


def narrow(tensors: dict[str, Any]) -> None:
    tensors["windows"] = np.ascontiguousarray(tensors["windows"][:, :, :5])


def double(tensors: dict[str, Any]) -> None:
    tensors["windows"] = tensors["windows"].astype(np.float64)


def nameless(tensors: dict[str, Any]) -> None:
    del tensors["stimulus_time_s"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nan, "window 7 holds NaN or Inf"),
        (narrow, "windows are [44, 2, 5], expected [n, window_volumes, n_voxel] = [44, 2, 12]"),
        (double, "'windows' is float64, expected float32"),
        (nameless, "tensor 'stimulus_time_s' is missing"),
    ],
)
def test_spoilt_windows_are_refused(
    make_run: MakeRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Any,
    message: str,
) -> None:
    assert message in error_of(make_run("sub-1_run-1", spoil=spoil), tmp_path, capsys)


def test_one_class_is_refused(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_run("sub-1_run-1", classes=("face",))
    assert "found one class, 'face'" in error_of(data, tmp_path, capsys)


def test_runs_prepared_differently_are_refused(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("sub-1_run-1")
    data = make_run("sub-1_run-2", settings={"signal": {"hrf_delay_s": 5.0}})
    message = error_of(data, tmp_path, capsys)
    assert "signal.hrf_delay_s is 5.0 in sub-1_run-2, expected 4.0 as in sub-1_run-1" in message


def test_another_delay_than_asked_for_is_refused(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = error_of(make_run("sub-1_run-1"), tmp_path, capsys, "--delay-s", "6")
    assert "HRF delay of 4.0 s, expected 6.0 s" in message


def test_missing_files_are_named(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_run("sub-1_run-1")
    (data / "sub-1_run-1" / "events.tsv").unlink()
    assert "events.tsv: missing" in error_of(data, tmp_path, capsys)
    (data / "sub-1_run-1" / "data.safetensors").write_bytes(b"not a tensor")
    (data / "sub-1_run-1" / "events.tsv").touch()
    assert "not a safetensors file" in error_of(data, tmp_path, capsys)
    (data / "sub-1_run-1" / "prepared.toml").write_text("format = ")
    assert "not TOML" in error_of(data, tmp_path, capsys)
    (data / "sub-1_run-1" / "prepared.toml").unlink()
    assert "no run in it" in error_of(data, tmp_path, capsys)
    assert "expected a folder" in error_of(tmp_path / "nowhere", tmp_path, capsys)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ("onset\tduration\ttrial_type\n", "no window is inside an event"),
        ("onset\tduration\ttrial_type\n900\t10\tface\n", "1 events were read"),
        ("onset\tduration\ttrial_type\n4\tn/a\tface\n", "length with --duration-s"),
        ("onset\tduration\ttrial_type\n4\tlong\tface\n", "duration is 'long', expected seconds"),
        ("onset\tduration\n4\t10\n", "no column 'trial_type', found ['onset', 'duration']"),
        ("onset\tduration\ttrial_type\n4\t10\ta\n9\t10\tb\n", "do not overlap"),
    ],
)
def test_events_that_label_nothing_are_refused(
    make_run: MakeRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    events: str,
    message: str,
) -> None:
    data = make_run("sub-1_run-1")
    (data / "sub-1_run-1" / "events.tsv").write_text(events)
    assert message in error_of(data, tmp_path, capsys)


def test_runs_without_a_subject_ask_for_one(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--subject" in error_of(make_run("run-01"), tmp_path, capsys)
