"""`export-animatediff` through the command line, on random networks of two levels."""

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

import video_networks
from corticast_training.cli import main
from corticast_training.video import sampling, wrappers
from corticast_training.video.assemble import load_source
from corticast_training.video.config import VideoConfig

STATIC = "1x4x3x8x8"
FUSED = {"denoise_step", "denoise_step_plain", "text_encoder", "vae_encoder", "vae_decoder"}
SPLIT = {"controlnet", "unet", "unet_plain"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    saved = video_networks.save_folders(folder)
    for name, seed in (("domain_lora", 1), ("lcm_lora", 2)):
        saved[name] = folder / f"{name}.safetensors"
        save_file(video_networks.lora(saved["unet"], seed), saved[name])
    return saved


def arguments(folders: dict[str, Path], **changes: Path) -> list[str]:
    needed = ("unet", "motion", "controlnet", "vae", "text_encoder")
    found = {name: folders[name] for name in needed} | changes
    return [
        part for name, path in found.items() for part in (f"--{name.replace('_', '-')}", str(path))
    ]


def export(out: Path, *options: str) -> int:
    return main(["export-animatediff", *options, "--out", str(out)])


@pytest.fixture(scope="module")
def dynamic(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dynamic") / "set"
    changes = {"taesd": folders["taesd"], "domain_lora": folders["domain_lora"]}
    assert export(out, *arguments(folders, **changes), "--dynamic") == 0
    return out


@pytest.fixture(scope="module")
def static(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("static") / "set"
    options = arguments(folders, lcm_lora=folders["lcm_lora"])
    assert export(out, *options, "--static", STATIC) == 0
    return out


def manifest(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "video.toml").read_text())


def network(folder: Path, role: str) -> dict[str, Any]:
    found = [entry for entry in manifest(folder)["network"] if entry["role"] == role]
    assert len(found) == 1
    entry: dict[str, Any] = found[0]
    return entry


def run(folder: Path, role: str, feeds: dict[str, Any]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(folder / f"{role}.onnx")
    return [np.asarray(value) for value in session.run(None, feeds)]


def test_a_dynamic_set_has_split_and_fused_graphs_of_any_size(dynamic: Path) -> None:
    facts = manifest(dynamic)
    assert {entry["role"] for entry in facts["network"]} == (
        FUSED | SPLIT | {"taesd_encoder", "taesd_decoder"}
    )
    assert facts["graphs"] == {
        "clip": {
            "text": ["text_encoder"],
            "vae": ["vae_encoder", "vae_decoder"],
            "taesd": ["taesd_encoder", "taesd_decoder"],
        },
        "reference": {"fused": ["denoise_step"], "split": ["controlnet", "unet"]},
        "live": {
            "fused": ["denoise_step_plain"],
            "split": ["controlnet", "unet"],
            "uncontrolled": ["unet_plain"],
        },
    }
    assert (facts["precision"], facts["shapes"], facts["sizes"]["max_frames"]) == (
        "fp32",
        "dynamic",
        32,
    )
    assert network(dynamic, "denoise_step")["inputs"][0] == {
        "name": "latents",
        "shape": [1, 4, -1, -1, -1],
    }


def test_the_manifest_says_what_lies_in_the_folder(static: Path, dynamic: Path) -> None:
    for folder in (static, dynamic):
        facts = manifest(folder)
        named = {"video.toml": None, facts["prompt"]["vocabulary"]: None}
        assert (
            sha256(folder / facts["prompt"]["vocabulary"]) == (facts["prompt"]["vocabulary_sha256"])
        )
        for entry in facts["network"]:
            for file in (entry, *entry.get("external", ())):
                assert sha256(folder / file["file"]) == file["sha256"]
                named[file["file"]] = None
            model = onnx.load(folder / entry["file"], load_external_data=False)
            properties = {prop.key: prop.value for prop in model.metadata_props}
            assert properties["corticast_role"] == entry["role"]
            assert properties["corticast_precision"] == facts["precision"]
            for key, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
                assert [tensor["name"] for tensor in entry[key]] == [v.name for v in values]
        assert {path.name for path in folder.iterdir()} == set(named)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_split_graphs_give_what_pytorch_gives_at_another_size(
    folders: dict[str, Path], dynamic: Path
) -> None:
    chosen = {k: folders[k] for k in ("unet", "motion", "domain_lora")}
    scales = {"domain_lora_scale": 1.0, "lcm_lora_scale": 1.0}
    unet, _ = load_source("unet", chosen, scales)
    control, _ = load_source("controlnet", {"controlnet": folders["controlnet"]}, scales)
    torch.manual_seed(0)
    sample, context = torch.randn(2, 4, 2, 16, 8), torch.randn(2, 77, video_networks.TEXT_DIM)
    cond, mask = torch.randn(1, 4, 2, 16, 8), torch.zeros(1, 1, 2, 16, 8)
    timestep, one = torch.tensor([41]), torch.tensor(1.0)
    with torch.no_grad():
        residuals = wrappers.ControlNet(control)(timestep, context, cond, mask, one)
        expected = wrappers.Unet(unet)(sample, timestep, context, *residuals).numpy()
    inputs = {"timestep": timestep.numpy(), "context": context.numpy()}
    conditions = {
        "cond": cond.numpy(),
        "mask": mask.numpy(),
        "scale": np.array(1, np.float32),
    }
    found = run(dynamic, "controlnet", inputs | conditions)
    names = [tensor["name"] for tensor in network(dynamic, "controlnet")["outputs"]]
    feeds = inputs | dict(zip(names, found, strict=True)) | {"sample": sample.numpy()}
    (noise,) = run(dynamic, "unet", feeds)
    assert np.abs(noise - expected).max() <= 1e-4 * np.abs(expected).max()
    # The fused step at guidance g is e_u + g (e_c - e_u) of the split one.
    both = {**feeds, "sample": np.repeat(feeds["sample"][:1], 2, axis=0)}
    (halves,) = run(dynamic, "unet", both)
    step = {"latents": both["sample"][:1], "guidance": np.array(3, np.float32)}
    scale = {"control_scale": conditions["scale"]}
    rest = {k: conditions[k] for k in ("cond", "mask")} | scale
    (fused,) = run(dynamic, "denoise_step", inputs | rest | step)
    guided = halves[:1] + 3 * (halves[1:] - halves[:1])
    assert np.abs(fused - guided).max() <= 5e-4 * np.abs(guided).max()


def test_a_static_set_in_fp16_has_fixed_fused_steps(static: Path) -> None:
    facts = manifest(static)
    assert {entry["role"] for entry in facts["network"]} == FUSED
    assert (facts["precision"], facts["shapes"]) == ("fp16", "static")
    assert (facts["sizes"]["frames"], facts["sizes"]["max_frames"]) == (3, 3)
    assert network(static, "denoise_step_plain")["inputs"][0]["shape"] == [1, 4, 3, 8, 8]
    stored = onnx.load(static / "denoise_step.onnx").graph.initializer
    weights = [tensor for tensor in stored if np.prod(tensor.dims) > 64]
    assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.FLOAT16}
    with pytest.raises(Exception, match="latents"):
        run(static, "denoise_step_plain", {"latents": np.zeros((1, 4, 3, 16, 8), np.float32)})


def test_the_adapter_for_few_steps_is_fused_into_the_plain_step_only(static: Path) -> None:
    facts = manifest(static)
    assert facts["lcm"]["distilled"] is True
    assert facts["lcm"]["adapter"] == "lcm_lora.safetensors"
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    context = draw(1, 77, video_networks.TEXT_DIM)
    feeds = {
        "latents": draw(1, 4, 3, 8, 8),
        "timestep": np.array([501]),
        "cond": draw(1, 4, 3, 8, 8),
        "mask": np.zeros((1, 1, 3, 8, 8), np.float32),
        "control_scale": np.array(1, np.float32),
    }
    (plain,) = run(static, "denoise_step_plain", {**feeds, "context": context})
    guided = {"context": np.repeat(context, 2, 0), "guidance": np.array(1, np.float32)}
    (same,) = run(static, "denoise_step", feeds | guided)
    assert np.abs(plain - same).max() > 0.02 * np.abs(same).max()


def test_a_set_without_an_adapter_says_so(dynamic: Path) -> None:
    lcm = manifest(dynamic)["lcm"]
    assert lcm["distilled"] is False
    assert "no consistency adapter" in lcm["note"]


def test_an_exported_set_samples_a_clip_in_onnx_runtime(static: Path) -> None:
    config = VideoConfig.load(frames=3, latent=8)
    ids = np.full((2, 77), 49407)
    (context,) = run(static, "text_encoder", {"input_ids": ids})
    session = onnxruntime.InferenceSession(static / "denoise_step.onnx")

    def predict(latents: torch.Tensor, timestep: int) -> torch.Tensor:
        feeds = {
            "latents": latents.numpy(),
            "timestep": np.array([timestep]),
            "context": context,
            "cond": np.zeros((1, 4, 3, 8, 8), np.float32),
            "mask": np.zeros((1, 1, 3, 8, 8), np.float32),
            "control_scale": np.array(1, np.float32),
            "guidance": np.array(1, np.float32),
        }
        return torch.from_numpy(session.run(None, feeds)[0])

    generator = torch.Generator().manual_seed(0)
    start = torch.randn(1, 4, 3, 8, 8, generator=generator)
    latents = sampling.ddim(config, predict, start, 2)
    (images,) = run(static, "vae_decoder", {"latent": latents[0].transpose(0, 1).numpy()})
    assert images.shape == (3, 3, 64, 64)
    assert np.isfinite(images).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"controlnet": lambda: video_networks.controlnet(cross_attention_dim=8)},
         "SparseCtrl's text width is 8, expected 16"),
        ({"controlnet": lambda: video_networks.controlnet(conditioning_channels=3)},
         "SparseCtrl's conditioning channels .* is 3, expected 4"),
        ({"text_encoder": lambda: video_networks.text_encoder(hidden_size=8)},
         "the text encoder's width is 8, expected 16"),
    ],
)  # fmt: skip
def test_networks_that_do_not_belong_together_are_refused(
    folders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    replaced = {}
    for name, make in changes.items():
        make().save_pretrained(tmp_path / name)
        replaced[name] = tmp_path / name
    code = export(tmp_path / "set", *arguments(folders, **replaced), "--static", STATIC)
    assert code == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "set").exists()


def test_a_network_of_missing_or_foreign_files_is_named(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for path, said in (
        (tmp_path / "nowhere", "nowhere: missing"),
        (tmp_path / "empty", "no config.json in it, expected a diffusers folder of the vae"),
        (folders["unet"], "not a AutoencoderKL"),
    ):
        code = export(tmp_path / "set", *arguments(folders, vae=path), "--static", STATIC)
        assert code == 1
        assert said in capsys.readouterr().err


def test_a_weight_of_another_shape_is_refused(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "controlnet"
    broken.mkdir()
    for file in folders["controlnet"].iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (weights,) = broken.glob("*.safetensors")
    tensors = load_file(weights)
    tensors["conv_in.bias"] = torch.zeros(3)
    save_file(tensors, weights, metadata={"format": "pt"})
    code = export(tmp_path / "set", *arguments(folders, controlnet=broken), "--static", STATIC)
    assert code == 1
    assert "controlnet: not a SparseControlNetModel" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["1x4x3x8", "2x4x3x8x8", "1x4x3x8x16", "1x4x33x8x8", "1x4x3x9x9"])
def test_sizes_that_no_set_can_have_are_refused(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], size: str
) -> None:
    assert export(tmp_path / "set", *arguments(folders), "--static", size) == 1
    assert "expected" in capsys.readouterr().err


def test_a_folder_that_is_no_set_is_never_replaced(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    assert export(tmp_path, *arguments(folders), "--force") == 1
    assert "no video.toml is in it" in capsys.readouterr().err
    assert (tmp_path / "kept.txt").read_text() == "mine"
