import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from corticast_training.cli import main
from corticast_training.config import Config
from corticast_training.data.movie import Movie
from corticast_training.errors import TrainingError
from corticast_training.targets import folder, open_clip_towers
from corticast_training.targets.pretrained import load
from corticast_training.targets.store import read_targets
from pretrained_folder import make_folder

SIZES = Config.load("tiny").sizes


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A folder as a user has it, and the networks in it."""
    out = tmp_path_factory.mktemp("pretrained") / "tiny-random"
    clip, vae = make_folder(out)
    return out, clip, vae


def make(movie: Movie, pretrained: str | Path, out: Path, *more: str) -> int:
    given = ["--data", str(movie.folder), "--pretrained", str(pretrained), "--out", str(out)]
    return main(["targets", *given, "--preset", "tiny", "--device", "cpu", *more])


def test_a_folder_of_real_layout_gives_what_its_networks_give(
    few: Movie, real: tuple[Path, Any, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, clip, vae = real
    assert make(few, source, tmp_path / "a", "--batch", "4") == 0
    assert "memory: about" in capsys.readouterr().out
    made = read_targets(tmp_path / "a", SIZES)
    frames = torch.from_numpy(np.array(few.frames("train")[9])).permute(0, 3, 1, 2).float() / 255
    small = torch.nn.functional.interpolate(frames, (32, 32), mode="bicubic", antialias=True)
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), 0.2
    caption = few.clips("train")[9].caption
    with torch.no_grad():
        pooled, tokens = clip.visual((small.clamp(0, 1) - mean) / std)
        text = clip.encode_text(open_clip.tokenize([caption]))[0]
        latents = vae.encode(2 * frames - 1).latent_dist.mode() * 0.18215
    assert pooled.shape == (6, 32) and tokens.shape == (6, 16, 32)
    close: dict[str, Any] = {"rtol": 2e-3, "atol": 2e-3}  # half precision
    np.testing.assert_allclose(made.train.image_tokens[9], tokens.numpy(), **close)
    np.testing.assert_allclose(made.train.latents[9], latents.numpy(), **close)
    np.testing.assert_allclose(made.train.text_embed[9], text.numpy(), rtol=1e-4, atol=1e-5)
    # The pooled embedding of a name is the state of its end token.
    last = made.states[np.arange(len(made.names)), made.length - 1]
    np.testing.assert_allclose(last, made.pooled, rtol=1e-4, atol=1e-5)
    pretrained = made.facts["pretrained"]
    assert pretrained["name"] == "tiny-random"
    assert pretrained["clip"] == "open_clip_model.safetensors"
    assert len(pretrained["clip_sha256"]) == len(pretrained["vae_sha256"]) == 64


def lose_weights(source: Path) -> None:
    (source / "open_clip_model.safetensors").unlink()


def lose_vae(source: Path) -> None:
    (source / "vae" / "diffusion_pytorch_model.safetensors").unlink()


def lose_config(source: Path) -> None:
    (source / "open_clip_config.json").unlink()


def spoil_config(source: Path) -> None:
    (source / "open_clip_config.json").write_text("{}")


def of_another_width(source: Path) -> None:
    path = source / "open_clip_config.json"
    path.write_text(path.read_text().replace('"embed_dim": 32', '"embed_dim": 48'))


def of_other_patches(source: Path) -> None:
    config = json.loads((source / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["layers"] = 1
    config["model_cfg"]["text_cfg"]["context_length"] = 20
    (source / "open_clip_config.json").write_text(json.dumps(config))


def of_a_factor_of_4(source: Path) -> None:
    path = source / "vae" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"block_out_channels": [4, 4, 8]}))


def without_a_weight(source: Path) -> None:
    weights = load_file(source / "open_clip_model.safetensors")
    del weights["visual.proj"]
    save_file(weights, source / "open_clip_model.safetensors")


def with_nan(source: Path) -> None:
    weights = load_file(source / "open_clip_model.safetensors")
    weights["visual.conv1.weight"][0, 0, 0, 0] = float("nan")
    save_file(weights, source / "open_clip_model.safetensors")


def cut(source: Path) -> None:
    path = source / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lose_weights, "no weights in it, expected one of open_clip_model.safetensors"),
        (lose_vae, "no VAE in it, expected config.json and diffusion_pytorch_model"),
        (lose_config, "no open_clip_config.json in it or in its clip/"),
        (spoil_config, "not a config of OpenCLIP"),
        (
            of_another_width,
            "text_projection is [16, 32], expected [16, 48] as open_clip_config.json",
        ),
        (of_other_patches, "the text tower has 20 positions and 49408 tokens, expected 77"),
        (of_a_factor_of_4, "4 latent channels, factor 4, scale 0.18215; expected 4, 8"),
        (without_a_weight, "weights are missing, the first is visual.proj"),
        (with_nan, "image_tokens of train-0001 hold NaN"),
        (cut, "not the weights of a VAE"),
    ],
)
def test_damaged_folders_are_refused_with_what_was_expected(
    few: Movie,
    real: tuple[Path, Any, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    message: str,
) -> None:
    source = tmp_path / "pretrained"
    shutil.copytree(real[0], source)
    spoil(source)
    assert make(few, source, tmp_path / "a") == 1
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
    assert not (tmp_path / "a" / "targets.toml").exists()


def test_networks_of_another_preset_are_refused(real: tuple[Path, Any, Any]) -> None:
    with pytest.raises(TrainingError, match=r"image tokens .* are \[1, 16, 32\], expected \[1, 16"):
        load(real[0], replace(SIZES, channels=64), device="cpu")


def test_too_little_memory_is_said_before_the_weights_are_read(
    real: tuple[Path, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "free_memory", lambda device: 1_000_000)
    monkeypatch.setattr(open_clip_towers, "load_open_clip", lambda path: pytest.fail("was read"))
    with pytest.raises(TrainingError, match=r"take about .* 1\.0 MB are free on cpu: expected a"):
        load(real[0], SIZES, device="cpu")
