"""What both stages refuse, through the command line: one line that says what to put right."""

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from safetensors.numpy import load_file, save_file

from corticast_training.cli import main
from movie_study import Study, command, train
from synthetic import prepare

Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a stage that has to fail without a trace on disk; returns what it said."""

    def run(stage: str, study: Study, *more: str, change: dict[str, str] | None = None) -> str:
        out = tmp_path / "refused"
        arguments = [*command(stage, study, out), *more]
        arguments = [(change or {}).get(part, part) for part in arguments]
        assert main(arguments) == 1
        assert not out.exists()
        return capsys.readouterr().err

    return run


def with_targets(
    study: Study, folder: Path, split: str, spoil: Callable[[dict[str, Any]], None]
) -> Path:
    """A copy of the targets, one split of it changed."""
    copy = folder / "targets"
    shutil.copytree(study.targets, copy)
    tensors = {
        name: value.copy() for name, value in load_file(copy / f"{split}.safetensors").items()
    }
    spoil(tensors)
    save_file(tensors, copy / f"{split}.safetensors")
    return copy


def no_labels(tensors: dict[str, Any]) -> None:
    tensors["labels"][:] = 0


def label_2(tensors: dict[str, Any]) -> None:
    tensors["labels"][3, 7] = 2


def nan_token(tensors: dict[str, Any]) -> None:
    tensors["image_tokens"][5, 0, 0, 0] = np.nan


def unknown_name(tensors: dict[str, Any]) -> None:
    tensors["key_name"][2] = 900


def narrow(tensors: dict[str, Any]) -> None:
    tensors["latents"] = np.ascontiguousarray(tensors["latents"][..., :4])


def lost(tensors: dict[str, Any]) -> None:
    del tensors["text_embed"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_labels, "no training clip shows any of the 51 classes, expected labels"),
        (label_2, "'labels' runs from 0 to 2, expected 0 to 1"),
        (nan_token, "row 5 of 'image_tokens' holds NaN or Inf"),
        (unknown_name, "'key_name' runs from -1 to 900, expected -1 to"),
        (narrow, "'latents' is float16 [36, 6, 4, 8, 4], expected float16 [36, 6, 4, 8, 8]"),
        (lost, "tensor 'text_embed' is missing, found"),
    ],
)
def test_spoilt_targets_are_refused(
    study: Study, tmp_path: Path, refused: Refused, spoil: Any, message: str
) -> None:
    copy = with_targets(study, tmp_path, "train", spoil)
    assert message in refused("brain", study, change={str(study.targets): str(copy)})


def test_a_nan_in_bold_is_refused_with_its_window(
    study: Study, tmp_path: Path, refused: Refused
) -> None:
    def broken(tensors: dict[str, Any]) -> None:
        tensors["windows"][11, 0, 4] = np.nan

    prepared = prepare(study.movie, "01", tmp_path / "p", {"sub-01_task-train03_run-2": broken})
    said = refused("brain", study, change={f"01={study.prepared('01')}": f"01={prepared}"})
    assert "sub-01_task-train03_run-2" in said
    assert "window 11 holds NaN or Inf, expected finite numbers" in said


def test_a_missing_repeat_is_refused(study: Study, tmp_path: Path, refused: Refused) -> None:
    copy = tmp_path / "p"
    shutil.copytree(study.prepared("02"), copy)
    shutil.rmtree(copy / "sub-02_task-train02_run-2")
    said = refused("brain", study, change={f"02={study.prepared('02')}": f"02={copy}"})
    assert "1 of 6 runs of train are missing, the first is sub-02_task-train02_run-2" in said


def test_targets_of_another_data_set_or_half_made_are_refused(
    study: Study, tmp_path: Path, refused: Refused
) -> None:
    copy = tmp_path / "targets"
    shutil.copytree(study.targets, copy)
    facts = tomllib.loads((copy / "targets.toml").read_text())
    facts["data"]["name"] = "synth tiny, seed 6"
    (copy / "targets.toml").write_text(tomli_w.dumps(facts))
    change = {str(study.targets): str(copy)}
    said = refused("brain", study, change=change)
    assert "made of synth 'synth tiny, seed 6', expected synth 'synth tiny, seed 5'" in said
    (copy / "targets.toml").unlink()
    assert "no complete targets in it" in refused("brain", study, change=change)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--set", "sizes.n_token=25"), "by the preset: make targets of the same preset"),
        (("--set", "brain.batch=7"), "brain.batch is 7, expected a multiple of 2"),
        (("--set", "brain.batch=90"), "45 of each subject, but only 33 clips"),
        (("--set", "brain.accumulate=0"), "brain.accumulate is 0, expected 1 or more"),
        (("--set", "brain.validation_fraction=1.0"), "expected 0 or more, below 1"),
        (("--set", "brain.precision=half"), "precision is 'half', expected one of 32-true"),
        (("--set", "brain.epochs"), "expected SECTION.KEY=VALUE"),
        (("--set", "brian.epochs=1"), "brian.epochs: expected one of sizes, brain, decoupler"),
        (("--precision", "16-mixed"), "precision 16-mixed needs CUDA"),
        (("--prepared", "01=elsewhere"), "subject 01 is given twice"),
        (("--prepared", "elsewhere"), "--prepared elsewhere: expected SUBJECT=DIR"),
        (("--prepared", "03=elsewhere"), "no subject '03', it has 01, 02"),
        (("--preset", "large"), "large: expected a file or one of tiny, small, paper"),
        (("--init", "nothing.pth"), "nothing.pth: missing, expected a .pth or .safetensors"),
    ],
)
def test_impossible_wishes_are_refused(
    study: Study, refused: Refused, more: tuple[str, ...], message: str
) -> None:
    assert message in refused("brain", study, *more)


def test_stage_2_wants_the_data_that_stage_1_was_trained_on(
    study: Study, brain: Path, tmp_path: Path, refused: Refused
) -> None:
    of = ("--brain", str(brain))
    alone = prepare(
        study.movie,
        "02",
        tmp_path / "p",
        settings={"mask": {"hash": "ef" * 32}},
        mask=study.movie.layout.mask("02"),
    )
    said = refused("decoupler", study, *of, change={f"02={study.prepared('02')}": f"02={alone}"})
    assert "subject 02: prepared with mask ef" in said and "was trained with cd" in said

    normalised = {"normalise": {"mode": "session"}}
    other = prepare(study.movie, "01", tmp_path / "q", settings=normalised)
    said = refused("decoupler", study, *of, change={f"01={study.prepared('01')}": f"01={other}"})
    assert "normalise.mode = 'session', the brain model was trained with 'growing'" in said

    def darker(tensors: dict[str, Any]) -> None:
        tensors["latents"] *= 0.5

    copy = with_targets(study, tmp_path, "train", darker)
    facts = tomllib.loads((copy / "targets.toml").read_text())
    facts["sha256"]["train.safetensors"] = "0" * 64
    (copy / "targets.toml").write_text(tomli_w.dumps(facts))
    said = refused("decoupler", study, *of, change={str(study.targets): str(copy)})
    assert "other targets than those of the brain model" in said


def test_stage_2_wants_all_subjects_of_stage_1_and_no_other(
    study: Study, brain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a"
    assert main([*command("decoupler", study, out, "01"), "--brain", str(brain)]) == 1
    assert "subject 02 is missing, expected all that the brain" in capsys.readouterr().err
    one = tmp_path / "one"
    assert main([*command("brain", study, one, "01"), "--set", "brain.batch=6"]) == 0
    assert main([*command("decoupler", study, out), "--brain", str(one)]) == 1
    assert "knows no subject 02, it has 01" in capsys.readouterr().err
    assert not out.exists()


def test_stage_2_refuses_what_is_not_its_own(
    study: Study, brain: Path, tmp_path: Path, refused: Refused
) -> None:
    of = ("--brain", str(brain))
    assert "no training.toml in it" in refused("decoupler", study, "--brain", str(tmp_path))
    for setting, message in (
        ("brain.epochs=3", "expected decoupler.KEY: the rest is the brain model's"),
        ("decoupler.segmentation_loss=iou", "is 'iou', expected bce or dice"),
        ("decoupler.text_keys=words", "text_keys is 'words', expected tokens or batch"),
    ):
        assert message in refused("decoupler", study, *of, "--set", setting)
    cut = tmp_path / "brain"
    shutil.copytree(brain, cut)
    content = (brain / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(content[:-8])
    assert "not a safetensors file" in refused("decoupler", study, "--brain", str(cut))


def test_another_seed_is_another_training_and_is_not_gone_on_with(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a"
    train("brain", study, out, "--max-steps", "1")
    assert main([*command("brain", study, out), "--resume", "--set", "brain.seed=1"]) == 1
    assert "brain.seed is 0, expected 1: it goes on only with what" in capsys.readouterr().err
