"""Tiny video networks: what they do by construction, training, and what the command refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch

from corticast_training.cli import main
from corticast_training.errors import TrainingError
from corticast_training.video import sampling, tiny_training, wrappers
from corticast_training.video.assemble import facts_of, fit, keep, load_assembled
from corticast_training.video.config import VideoConfig
from corticast_training.video.tiny_networks import TinyNetworks, tiny_networks

CONFIG = VideoConfig.load(frames=4, latent=8, guidance=1.5, prompt_suffix="", negative_prompt="")
CAPTIONS = ["a red ball rolls to the left", "a blue ball rolls to the right"]


@pytest.fixture(scope="module")
def networks() -> TinyNetworks:
    return tiny_networks(0)


def still_clips() -> np.ndarray:
    """Two clips of two frames, of one colour each."""
    frames = np.zeros((2, 2, 64, 64, 3), np.uint8)
    frames[0, ..., 0] = 200
    frames[1, ..., 2] = 120
    return frames


def test_they_have_the_interfaces_of_the_real_ones(networks: TinyNetworks) -> None:
    facts = {name: facts_of(part, name) for name, part in networks.sources().items()}
    assembled = fit(facts, frames=16, vae_scale=0.18215)
    assert len(assembled.channels) == 13
    assert assembled.shrinks == [1, 1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8, 8]
    assert assembled.max_frames == 32


def test_before_training_a_few_steps_give_the_key_frame(networks: TinyNetworks) -> None:
    clips = tiny_training.material(networks, still_clips(), CAPTIONS, CONFIG)
    latents, context = clips.latents[:1], clips.contexts[:1]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(latents.shape, generator=generator)
    predict = tiny_training.predictor(networks, latents[:, :, :1], context, clips.negative, None)
    start = sampling.add_noise(latents, noise, 0.0025)
    found = sampling.lcm(CONFIG, predict, start, 4, generator)
    # Without SparseCtrl's key frame it would be off by about one.
    assert float((found - latents).square().mean().sqrt()) < 0.3


def test_a_stored_network_gives_the_same_noise(networks: TinyNetworks, tmp_path: Path) -> None:
    sources = networks.sources()
    loaded = {}
    for name in ("unet", "controlnet", "vae"):
        keep(sources[name], name, tmp_path, tmp_path, "fp32")
        loaded[name] = load_assembled(tmp_path, name, "fp32")
    torch.manual_seed(0)
    latents, context = torch.randn(1, 4, 2, 8, 8), torch.randn(1, 77, 32)
    cond, mask = tiny_training.conditions(torch.randn(1, 4, 1, 8, 8), 2)
    given = (latents, torch.tensor([501]), context, cond, mask, torch.tensor(1.0))
    with torch.no_grad():
        expected = wrappers.DenoiseStepPlain(networks.unet.eval(), networks.controlnet.eval())
        found = wrappers.DenoiseStepPlain(loaded["unet"], loaded["controlnet"])
        torch.testing.assert_close(found(*given), expected(*given))
        image = torch.rand(1, 3, 64, 64)
        torch.testing.assert_close(
            wrappers.VaeEncoder(loaded["vae"])(image), wrappers.VaeEncoder(networks.vae)(image)
        )


def test_the_same_seed_trains_the_same_networks() -> None:
    losses, weights = [], []
    for _ in range(2):
        drawn = tiny_networks(3)
        clips = tiny_training.material(drawn, still_clips(), CAPTIONS, CONFIG)
        losses.append(tiny_training.train(drawn, clips, CONFIG, 2, seed=1))
        weights.append(drawn.unet.conv_out.weight.detach())
    assert losses[0] == losses[1]
    assert torch.equal(*weights)
    assert weights[0].any()


def test_clips_of_another_size_than_the_set_are_refused(networks: TinyNetworks) -> None:
    frames = np.zeros((1, 3, 64, 64, 3), np.uint8)
    with pytest.raises(TrainingError, match="clips have 3 frames of 64x64 pixels, expected 2"):
        tiny_training.material(networks, frames, CAPTIONS[:1], CONFIG)
    with pytest.raises(TrainingError, match="2 clips have 1 captions"):
        tiny_training.material(networks, still_clips(), CAPTIONS[:1], CONFIG)


def test_a_folder_that_is_no_data_set_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    code = main(["tiny-video", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "set")])
    assert code == 1
    assert "dataset.toml: missing" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
