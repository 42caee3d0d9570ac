"""A checkpoint becomes a model folder that says what is in it and that the daemon takes."""

import json
import os
import shutil
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import onnx
import onnxruntime
import pytest
import tomli_w
import torch
from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file, save_file

from corticast_training.choices import HEADS
from corticast_training.cli import main
from corticast_training.config import Config
from corticast_training.errors import TrainingError
from corticast_training.export.border import Border
from corticast_training.export.check import compare
from corticast_training.export.model import Request, export_model
from corticast_training.export.roles import NEEDED, roles_without
from corticast_training.model.brain import BrainModel
from corticast_training.model_folder import sha256_of
from corticast_training.training.checkpoint import BRAIN, CONFIG, MODEL, new_decoupler
from corticast_training.training.state import unshared
from synthetic import SMALL, make_dataset

ROOT = Path(__file__).parents[2]
DAEMON = ROOT / "target" / "release" / "corticast"
RUNTIME = ROOT / ".runtime" / "libonnxruntime.so"
N_VOXEL = {"01": 4, "02": 4}
MASK = tomllib.loads(
    (ROOT / "tests" / "data" / "models" / "linear-3x4" / "manifest.toml").read_text()
)["mask"]
"""Of a mask that the daemon's test data have, too."""
ALL = [*NEEDED, *(role for roles in HEADS.values() for role in roles)]


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    data = make_dataset(folder / "data", replace(SMALL, train_clips=6, train_segments=2))
    out = folder / "targets"
    arguments = ["--data", str(data), "--pretrained", "tiny", "--preset", "tiny"]
    assert main(["targets", *arguments, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, targets: Path) -> Path:
    """What `decoupler` writes, with weights that were never trained."""
    folder = tmp_path_factory.mktemp("export") / "decoupler"
    folder.mkdir()
    config = Config.load("tiny")
    config.save(folder / CONFIG)
    torch.manual_seed(0)
    sizes = config.sizes
    brain = BrainModel(sizes, N_VOXEL, 1, torch.randn(sizes.channels, sizes.text_dim))
    prior, decoupler = new_decoupler(config)
    parts = {"prior": prior, "decoupler": decoupler}
    whole = {
        f"{part}.{name}": value
        for part, network in parts.items()
        for name, value in network.state_dict().items()
    }
    save_file(unshared(brain.state_dict()), folder / BRAIN)
    save_file(unshared(whole), folder / MODEL)
    np_stats = {"mean": torch.zeros(4), "sd": torch.ones(4)}
    save_file(np_stats, folder / "sub-02_normalise.safetensors")
    facts = {
        "format": 1,
        "stage": "decoupler",
        "date": "2026-01-01T00:00:00+00:00",
        "window_volumes": 1,
        "data": {"name": "synth"},
        "targets": {"sha256": sha256_of(targets / "targets.toml"), "pretrained": {"name": "tiny"}},
        "reached": {"step": 0, "epoch": 1, "metrics": {}},
        "subject": [_subject(folder, name) for name in N_VOXEL],
    }
    (folder / "training.toml").write_text(tomli_w.dumps(facts))
    return folder


def _subject(folder: Path, name: str) -> dict[str, Any]:
    normalise: dict[str, Any] = {"mode": "none"}
    if name == "02":
        file = "sub-02_normalise.safetensors"
        normalise = {
            "mode": "frozen",
            "frozen_mean": "growing",
            "statistics": file,
            "statistics_sha256": sha256_of(folder / file),
        }
    return {
        "subject": name,
        "mask": MASK,
        "signal": {
            "repetition_time_s": 2.0,
            "hrf_delay_s": 0.0,
            "shift": "nearest",
            "window_volumes": 1,
        },
        "normalise": normalise,
        "prepared_sha256": "ef" * 32,
    }


@pytest.fixture(scope="module")
def model(checkpoint: Path, targets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "model"
    assert main(arguments(checkpoint, targets, out, "--vae", "tiny")) == 0
    return out


def arguments(checkpoint: Path, targets: Path, out: Path, *more: str) -> list[str]:
    given = ["--decoupler", str(checkpoint), "--targets", str(targets), "--out", str(out)]
    subject = [] if "--subject" in more else ["--subject", "01"]
    return ["export", *given, *subject, *more]


def manifest_of(model: Path) -> dict[str, Any]:
    return tomllib.loads((model / "manifest.toml").read_text())


def test_a_manifest_names_every_file_with_its_hash(model: Path) -> None:
    manifest = manifest_of(model)
    neurons = manifest["neurons"]
    named = {neurons[key]: neurons[f"{key}_sha256"] for key in ("class_states", "vocabulary")}
    for network in manifest["network"]:
        named[network["file"]] = network["sha256"]
        named |= {file["file"]: file["sha256"] for file in network.get("external", [])}
    assert [network["role"] for network in manifest["network"]] == [*ALL, "vae_decoder"]
    assert {path.name for path in model.iterdir()} == {*named, "manifest.toml"}
    for name, expected in named.items():
        assert sha256_of(model / name) == expected
        assert (model / name).stat().st_mode & 0o044 == 0o044


def test_every_file_says_whose_it_is(model: Path) -> None:
    for network in manifest_of(model)["network"]:
        graph = onnx.load(model / network["file"], load_external_data=False)
        props = {entry.key: entry.value for entry in graph.metadata_props}
        assert props == {
            "corticast_format": "2",
            "corticast_mask_hash": MASK["hash"],
            "corticast_model": "model",
            "corticast_precision": "fp32",
            "corticast_role": network["role"],
            "corticast_subject": "01",
        }


def test_text_states_are_those_of_the_51_classes(model: Path, targets: Path) -> None:
    found = load_numpy(model / "class_states.safetensors")
    names = load_numpy(targets / "names.safetensors")
    assert found["states"].shape[0] == len(found["length"]) == 51
    longest = found["states"].shape[1]
    assert longest == found["length"].max()
    np.testing.assert_array_equal(found["states"], names["states"][:51, :longest])


def test_a_graph_takes_any_batch(model: Path) -> None:
    session = onnxruntime.InferenceSession(model / "brain.onnx", providers=["CPUExecutionProvider"])
    bold = np.random.default_rng(0).standard_normal((5, 1, 4)).astype(np.float32)
    (whole,) = session.run(None, {"bold": bold})
    for row in range(5):
        (alone,) = session.run(None, {"bold": bold[row : row + 1]})
        np.testing.assert_allclose(alone[0], whole[row], atol=1e-5)


@pytest.mark.skipif(
    not (DAEMON.is_file() and RUNTIME.is_file()), reason="the daemon is not built (make binaries)"
)
@pytest.mark.parametrize("subject", ["01", "02"])
def test_the_daemon_reads_what_was_exported(
    checkpoint: Path, targets: Path, model: Path, tmp_path: Path, subject: str
) -> None:
    if subject == "02":
        model = tmp_path / "model"
        assert main(arguments(checkpoint, targets, model, "--subject", "02")) == 0
    mask, config = tmp_path / "mask.nii.gz", tmp_path / "site.toml"
    affine = np.array(MASK["affine"])
    nibabel.save(nibabel.Nifti1Image(np.ones(MASK["matrix"], np.uint8), affine), mask)
    config.write_text(f'[signal]\nmask = "{mask}"\n[model]\ndir = "{model}"\n')
    done = subprocess.run(
        [str(DAEMON), "check", "--config", str(config), "--json"],
        env={**os.environ, "CORTICAST_ONNXRUNTIME": str(RUNTIME)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["model"]["subject"] == subject
    assert [network["role"] for network in found["model"]["networks"]][: len(ALL)] == ALL


@pytest.mark.parametrize("precision", ["fp16", "fp16-storage"])
def test_half_precision_is_half_as_large(
    checkpoint: Path, targets: Path, model: Path, tmp_path: Path, precision: str
) -> None:
    out = tmp_path / "half"
    heads = ("--without", "caption", "--without", "objects", "--without", "reconstruction")
    assert main(arguments(checkpoint, targets, out, "--precision", precision, *heads)) == 0
    for role in ("brain", "prior"):
        half = (out / f"{role}.onnx").stat().st_size
        assert half < 0.7 * (model / f"{role}.onnx").stat().st_size
    manifest = manifest_of(out)
    assert manifest["provenance"]["precision"] == precision
    assert all(error <= 5e-3 for error in manifest["provenance"]["error"].values())


def test_large_weights_lie_beside_their_graph(
    checkpoint: Path, targets: Path, tmp_path: Path
) -> None:
    request = Request(
        checkpoint=checkpoint,
        targets=targets,
        subject="01",
        name="large",
        precision="fp32",
        roles=NEEDED,
        vae=None,
        external_above_bytes=100_000,
    )
    export_model(request, tmp_path / "large", force=False)
    beside = {
        network["role"]: [file["file"] for file in network.get("external", [])]
        for network in manifest_of(tmp_path / "large")["network"]
    }
    assert beside == {"brain": ["brain.data"], "prior": ["prior.data"], "motion": []}
    graph = onnx.load(tmp_path / "large" / "brain.onnx", load_external_data=False)
    assert any(
        tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.graph.initializer
    )


def test_the_same_checkpoint_gives_the_same_bytes(
    checkpoint: Path, targets: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    heads = ("--without", "caption", "--without", "objects")
    assert main(arguments(checkpoint, targets, out, *heads)) == 0
    for role in ("brain", "reconstruction"):
        assert (out / f"{role}.onnx").read_bytes() == (model / f"{role}.onnx").read_bytes()


def test_heads_can_be_left_out(checkpoint: Path, targets: Path, tmp_path: Path) -> None:
    out = tmp_path / "bare"
    without = [word for head in HEADS for word in ("--without", head)]
    assert main(arguments(checkpoint, targets, out, *without)) == 0
    manifest = manifest_of(out)
    assert [network["role"] for network in manifest["network"]] == list(NEEDED)
    assert manifest["provenance"]["heads_left_out"] == list(HEADS)
    assert "vocabulary" not in manifest["neurons"]
    with pytest.raises(TrainingError, match="leave out objects with concepts"):
        roles_without(frozenset({"concepts"}))


def refused(capsys: pytest.CaptureFixture[str], given: list[str]) -> str:
    assert main(given) == 1
    return capsys.readouterr().err


def test_what_cannot_be_exported_is_said_and_leaves_no_folder(
    checkpoint: Path, targets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    said = refused(capsys, arguments(checkpoint, targets, out, "--subject", "09"))
    assert "was not trained on subject 09, expected one of 01, 02" in said
    two = ["export", "--decoupler", str(checkpoint), "--targets", str(targets), "--out", str(out)]
    assert "name the one to export with --subject" in refused(capsys, two)

    other = tmp_path / "targets"
    shutil.copytree(targets, other)
    with (other / "targets.toml").open("a") as file:
        file.write("# changed\n")
    said = refused(capsys, arguments(checkpoint, other, out))
    assert "with which the model was trained" in said

    said = refused(capsys, arguments(checkpoint, targets, out, "--vae", str(tmp_path / "none")))
    assert "expected a VAE in diffusers' layout" in said
    assert list(tmp_path.iterdir()) == [other]


def test_masks_that_depend_on_a_batch_are_not_exported(
    checkpoint: Path, targets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "decoupler"
    shutil.copytree(checkpoint, other)
    config = (other / CONFIG).read_text()
    (other / CONFIG).write_text(config.replace('text_keys = "tokens"', 'text_keys = "batch"'))
    said = refused(capsys, arguments(other, targets, tmp_path / "model"))
    assert "masks depend on the other clips of a batch" in said


@pytest.mark.parametrize(
    ("value", "precision", "expected"),
    [
        (float("nan"), "fp32", "holds NaN or Inf"),
        (1e6, "fp16", "expected at most 65504 for half precision"),
    ],
)
def test_weights_that_cannot_be_written_refuse_the_model(
    checkpoint: Path,
    targets: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    value: float,
    precision: str,
    expected: str,
) -> None:
    spoilt, out = tmp_path / "decoupler", tmp_path / "model"
    shutil.copytree(checkpoint, spoilt)
    weights = load_file(spoilt / BRAIN)
    weights["backbone.backbone_linear.weight"][0, 0] = value
    save_file(weights, spoilt / BRAIN)
    said = refused(capsys, arguments(spoilt, targets, out, "--precision", precision))
    assert said.startswith("error: brain: ")
    assert expected in said
    assert not out.exists()


def test_a_file_that_differs_from_its_network_is_refused(model: Path) -> None:
    bold = np.zeros((1, 1, 4), dtype=np.float32)
    session = onnxruntime.InferenceSession(model / "brain.onnx", providers=["CPUExecutionProvider"])
    (tokens,) = session.run(None, {"bold": bold})
    borders = ([Border("bold", ("batch", 1, 4))], [Border("brain_tokens", ("batch", 16, 32))])

    def error(expected: np.ndarray, precision: str = "fp32") -> float:
        cases = [([bold], [expected])]
        return compare(model / "brain.onnx", "brain", borders, cases, precision)

    assert error(tokens) <= 1e-5
    off = tokens.copy()
    off.flat[0] += 1e-3 * np.abs(tokens).max()
    with pytest.raises(TrainingError, match="brain_tokens is off by"):
        error(off)
    assert error(off, "fp16") <= 5e-3
    with pytest.raises(TrainingError, match="off by nan"):
        error(np.full_like(tokens, np.nan))
    with pytest.raises(TrainingError, match="expected"):
        error(tokens[:, 1:])
