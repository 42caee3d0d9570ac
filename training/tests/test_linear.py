import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import save_file
from sklearn.linear_model import RidgeClassifier

from conftest import CLASSES, MakeRun
from corticast_training.cli import main
from corticast_training.data.prepared import read_prepared
from corticast_training.labels.dataset import folds_of, label_windows
from corticast_training.model.linear import RIDGE_ALPHA, _ridge_held_out, fit_linear
from corticast_training.model_folder import sha256


def train(data: Path, out: Path, *more: str) -> int:
    return main(["linear", "--data", str(data), "--target", "trial_type", "--out", str(out), *more])


def manifest_of(model: Path) -> dict[str, Any]:
    return tomllib.loads((model / "manifest.toml").read_text())


def three_runs(make_run: MakeRun, **more: Any) -> Path:
    return [make_run(f"sub-07_task-x_run-0{k + 1}", seed=k, **more) for k in range(3)][-1]


@pytest.mark.parametrize("method", ["ridge", "logistic"])
def test_a_decoder_finds_classes_that_are_there(
    make_run: MakeRun, tmp_path: Path, method: str
) -> None:
    model = tmp_path / "model"
    assert train(three_runs(make_run), model, "--method", method) == 0
    manifest = manifest_of(model)
    provenance = manifest["provenance"]
    assert provenance["cv_per_tr"] > 0.8 and provenance["cv_per_block"] == 1.0
    # 3 runs × 6 blocks × 5 volumes
    assert provenance["n_windows"] == 90
    assert manifest["subject"] == "07"
    network = manifest["network"][0]
    assert network["classes"] == sorted(CLASSES)
    assert network["inputs"] == [{"name": "bold", "shape": [1, 2, 12]}]
    assert network["sha256"] == sha256((model / network["file"]).read_bytes())
    assert set(manifest["signal"]) == {
        "repetition_time_s",
        "hrf_delay_s",
        "shift",
        "window_volumes",
    }


def test_a_model_states_the_stages_that_made_its_windows(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = {"smooth": {"fwhm_mm": 6.0}, "slice_timing": {"times_s": [0.0, 0.5], "axis": "z"}}
    data, model = three_runs(make_run, settings={"stages": stages}), tmp_path / "model"
    assert train(data, model) == 0
    assert manifest_of(model)["stages"] == stages
    # A run without them was prepared differently.
    make_run("sub-07_task-x_run-04", seed=4)
    assert train(data, tmp_path / "other") == 1
    message = capsys.readouterr().err
    assert "stages.slice_timing is None in sub-07_task-x_run-04, expected {" in message, message


def test_onnx_runtime_says_what_scikit_learn_says(make_run: MakeRun, tmp_path: Path) -> None:
    data, model = three_runs(make_run), tmp_path / "model"
    assert train(data, model) == 0
    provenance = manifest_of(model)["provenance"]
    labelled = label_windows(read_prepared(data), "trial_type")
    ridge = RidgeClassifier(alpha=provenance["regularisation"])
    ridge.fit(labelled.windows, labelled.label)
    logits = provenance["temperature"] * ridge.decision_function(labelled.windows)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    session = onnxruntime.InferenceSession(model / "decoder.onnx")
    windows = labelled.windows.reshape(-1, 1, 2, 12)
    found = np.concatenate([session.run(None, {"bold": window})[0] for window in windows])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_cross_validated_ridge_equals_scikit_learn_fold_by_fold(make_run: MakeRun) -> None:
    labelled = label_windows(read_prepared(three_runs(make_run)), "trial_type")
    folds = folds_of(labelled)
    decisions = _ridge_held_out(labelled, folds)
    for out in folds.held_out:
        for k in (0, 5, 16):
            ridge = RidgeClassifier(alpha=RIDGE_ALPHA[k])
            ridge.fit(labelled.windows[~out].astype(float), labelled.label[~out])
            expected = ridge.decision_function(labelled.windows[out].astype(float))
            np.testing.assert_allclose(decisions[k, out], expected, atol=1e-8)


def test_two_classes_are_decoded_like_any_other_number(make_run: MakeRun, tmp_path: Path) -> None:
    data = three_runs(make_run, classes=("rest", "task"))
    for method in ("ridge", "logistic"):
        model = tmp_path / method
        assert train(data, model, "--method", method) == 0
        manifest = manifest_of(model)
        assert manifest["provenance"]["cv_per_tr"] > 0.8
        assert manifest["network"][0]["outputs"] == [{"name": "probabilities", "shape": [1, 2]}]


def test_labels_without_signal_are_decoded_at_chance(make_run: MakeRun, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)

    def noise(tensors: dict[str, Any]) -> None:
        shape = tensors["windows"].shape
        tensors["windows"] = rng.standard_normal(shape).astype(np.float32)

    model = tmp_path / "model"
    assert train(three_runs(make_run, spoil=noise), model) == 0
    # 90 windows at 1/3: four standard errors are .2
    assert abs(manifest_of(model)["provenance"]["cv_per_tr"] - 1 / 3) < 0.2


def test_same_data_same_bytes(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    data = three_runs(make_run)
    for name in ("a", "b"):
        assert train(data, tmp_path / name, "--name", "same") == 0
    for file in ("decoder.onnx", "manifest.toml"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert manifest_of(tmp_path / "a")["provenance"]["date"] == "1970-01-01T00:00:00+00:00"


def test_network_says_what_it_is(make_run: MakeRun, tmp_path: Path) -> None:
    assert train(three_runs(make_run), tmp_path / "model") == 0
    network = onnx.load(tmp_path / "model" / "decoder.onnx")
    said = {prop.key: prop.value for prop in network.metadata_props}
    assert said == {
        "corticast_format": "1",
        "corticast_mask_hash": "ab" * 32,
        "corticast_classes": '["face", "house", "shoe"]',
    }
    assert network.ir_version <= 10 and network.opset_import[0].version <= 21


def test_frozen_statistics_travel_with_the_model(make_run: MakeRun, tmp_path: Path) -> None:
    settings = {"normalise": {"mode": "frozen", "statistics": "../normalise.safetensors"}}
    data = three_runs(make_run, settings=settings)
    ones = np.ones(12, dtype=np.float32)
    save_file({"mean": ones, "sd": ones}, data / "normalise.safetensors")
    assert train(data, tmp_path / "model") == 0
    normalise = manifest_of(tmp_path / "model")["normalise"]
    copied = (tmp_path / "model" / "normalise.safetensors").read_bytes()
    assert copied == (data / "normalise.safetensors").read_bytes()
    assert normalise["statistics"] == "normalise.safetensors"
    assert normalise["statistics_sha256"] == sha256(copied)


def test_an_existing_model_is_replaced_only_by_force(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, model = three_runs(make_run), tmp_path / "model"
    assert train(data, model, "--name", "first") == 0
    assert train(data, model, "--name", "second") == 1
    assert "exists" in capsys.readouterr().err
    assert manifest_of(model)["name"] == "first"
    assert train(data, model, "--name", "second", "--force") == 0
    assert manifest_of(model)["name"] == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "model"]


def test_force_never_replaces_a_folder_that_is_no_model(make_run: MakeRun, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    assert train(three_runs(make_run), precious, "--force") == 1
    assert (precious / "thesis.txt").exists()


def test_one_run_is_cross_validated_by_block(make_run: MakeRun) -> None:
    labelled = label_windows(read_prepared(make_run("sub-1_run-1")), "trial_type")
    folds = folds_of(labelled)
    assert (folds.by, len(folds.held_out), folds.optimistic) == ("block", 2, False)
    for out in folds.held_out:
        assert not set(labelled.block[out]) & set(labelled.block[~out])
    assert sum(out.astype(int) for out in folds.held_out).tolist() == [1] * len(labelled.label)  # type: ignore[union-attr]
    fit_linear(labelled, folds, "ridge")


def test_one_block_a_class_is_halved_with_a_warning(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(make_run("sub-1_run-1", repeats=1), tmp_path / "model") == 0
    assert "too good" in capsys.readouterr().out


def test_a_rare_class_that_is_never_right_is_told_with_the_true_chance(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One block of face for nine of house, and no signal at all.
    noise = np.random.default_rng(5)

    def silence(tensors: dict[str, Any]) -> None:
        tensors["windows"] = noise.standard_normal(tensors["windows"].shape).astype(np.float32)

    classes = ("face", *["house"] * 9)
    for k in range(3):
        data = make_run(f"sub-07_run-0{k}", classes=classes, repeats=1, spoil=silence)
    model = tmp_path / "model"
    assert train(data, model) == 0
    out = capsys.readouterr().out
    assert "chance 0.900" in out and "chance 0.500" in out, out
    assert "warning: class 'face' is never right" in out, out
    assert "no better than one that always names the most frequent class (0.900)" in out, out
    provenance = manifest_of(model)["provenance"]
    assert provenance["chance_per_tr"] == 0.9
    assert abs(provenance["cv_balanced"] - 0.5) < 0.05


def test_events_without_a_length_are_explained_and_get_one(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = three_runs(make_run)
    for path in data.glob("*/events.tsv"):
        path.write_text(path.read_text().replace("\t10.0\t", "\t0\t"))
    assert train(data, tmp_path / "model") == 1
    assert "durations are all 0 (or n/a): give their length with --duration-s" in (
        capsys.readouterr().err
    )
    assert train(data, tmp_path / "model", "--duration-s", "10") == 0
    assert manifest_of(tmp_path / "model")["provenance"]["cv_per_tr"] > 0.8


def test_classes_are_chosen_among_other_events(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = three_runs(make_run)
    for path in data.glob("*/events.tsv"):
        path.write_text(path.read_text() + "0\t200\trun\n6\t0\tkey\n")
    model = tmp_path / "model"
    assert train(data, model) == 1
    assert "name the classes that are meant with --classes" in capsys.readouterr().err
    assert train(data, model, "--classes", "face,house") == 0
    assert manifest_of(model)["network"][0]["classes"] == ["face", "house"]
    assert train(data, tmp_path / "other", "--classes", "face,hose") == 1
    assert "no event of class 'hose'" in capsys.readouterr().err
