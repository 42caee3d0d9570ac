"""Sampling of the video stage against the reference's fixtures, every case of the manifest."""

from typing import Any

import numpy as np
import pytest
import torch

import reference
from corticast_training.video import sampling
from corticast_training.video.config import VideoConfig

CONFIG = VideoConfig.load()
DDIM: dict[str, Any] = reference.section("ddim")["cases"]


@pytest.mark.parametrize("name", [k for k, v in DDIM.items() if v.get("eta") == 0.0])
def test_ddim_follows_the_reference_from_its_first_latents_to_its_last(name: str) -> None:
    case = DDIM[name]
    held = {k: torch.from_numpy(v) for k, v in reference.tensors(case["file"]).items()}
    timesteps = held["timesteps"].tolist()
    n_step = len(timesteps)
    assert sampling.ddim_timesteps(CONFIG, n_step) == timesteps
    outputs = dict(zip(timesteps, held["model_outputs"], strict=True))
    found = sampling.ddim(CONFIG, lambda _, t: outputs[t], held["noised_at_first_timestep"], n_step)
    expected = held["prev_samples"][-1]
    error = float((found - expected).abs().max()) / float(expected.abs().max())
    reference.compare(f"ddim {name}", error, 1e-5)


@pytest.mark.parametrize("name", [k for k, v in DDIM.items() if "strength_slicing_sdedit" in v])
def test_a_strength_keeps_the_tail_of_the_schedule(name: str) -> None:
    n_step = len(DDIM[name]["timesteps"])
    for strength, expected in DDIM[name]["strength_slicing_sdedit"].items():
        found = sampling.ddim_timesteps(CONFIG, n_step, float(strength))
        assert found == expected["timesteps"]


def test_noise_is_added_by_the_square_roots_of_its_share() -> None:
    found = sampling.add_noise(torch.tensor([1.0]), torch.tensor([2.0]), 0.36)
    assert found.item() == pytest.approx(0.6 + 2 * 0.8)


def test_ddim_with_the_true_noise_gives_the_clip_back() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 1, 4, 3, 2, 2, generator=generator).unbind(0)
    first = sampling.ddim_timesteps(CONFIG, 5)[0]
    start = sampling.add_noise(clean, noise, float(sampling.signal_fractions(CONFIG)[first]))
    found = sampling.ddim(CONFIG, lambda _, t: noise, start, 5)
    torch.testing.assert_close(found, clean, atol=1e-4, rtol=0)


def test_six_frames_become_sixteen() -> None:
    frames = torch.arange(6.0)[None]
    found = sampling.between_frames(frames)[0].numpy()
    assert len(found) == 16
    np.testing.assert_allclose(found[:4], [0, 0.33, 0.67, 1], atol=1e-6)
