import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor

import reference
from corticast_training.config import Config, Sizes
from corticast_training.errors import TrainingError
from corticast_training.model.diffusion import CosineSchedule
from corticast_training.model.positions import relative_buckets
from corticast_training.model.prior import Prior
from corticast_training.model.published import load_published

SECTION = reference.section("prior")
CASES: list[dict[str, Any]] = SECTION.get("cases", [SECTION])
TINY = Config.load("tiny").sizes


def sizes_of(case: dict[str, Any]) -> Sizes:
    return dataclasses.replace(
        TINY,
        n_token=case["tokens"],
        channels=case["dim"],
        prior_depth=case["depth"],
        prior_heads=case["heads"],
        prior_dim_head=case["dim_head"],
        prior_steps=case["steps"],
    )


def published_weights(case: dict[str, Any]) -> dict[str, Tensor]:
    """The weights of a fixture's graph under their published names."""
    graph = onnx.load(reference.folder() / case["onnx"]).graph
    made_by = {name: node for node in graph.node for name in node.output}
    stored = {item.name: numpy_helper.to_array(item) for item in graph.initializer}

    def value(name: str) -> Tensor:
        while name not in stored:
            name = made_by[name].input[0]
        return torch.tensor(stored[name])

    nodes = {node.name: node for node in graph.node}

    def matrix(name: str) -> Tensor:
        return value(nodes[f"/{name}/MatMul"].input[1]).T.contiguous()

    net = "diffusion_prior.net."
    transformer = net + "causal_transformer."
    weights = {
        net + "learned_query": value("pos"),
        transformer + "rel_pos_bias.relative_attention_bias.weight": value("rel.weight"),
        transformer + "norm.g": value("norm.g"),
        transformer + "project_out.weight": matrix("proj"),
    }
    for index, layer in enumerate(("net.0.0", "net.1.0", "net.2")):
        for what in ("weight", "bias"):
            weights[f"{net}to_time_embeds.0.1.{layer}.{what}"] = value(f"time.{index}.{what}")
    for index in range(case["depth"]):
        attention, feed_forward = (f"{transformer}layers.{index}.{k}." for k in (0, 1))
        ours = f"attn.{index}"
        nulls = [value(nodes[f"/{ours}/Expand{k}"].input[0]) for k in ("", "_1")]
        weights |= {
            attention + "norm.g": value(f"{ours}.norm.g"),
            attention + "null_kv": torch.stack(nulls),
            attention + "to_q.weight": matrix(f"{ours}/to_q"),
            attention + "to_kv.weight": matrix(f"{ours}/to_kv"),
            attention + "to_out.0.weight": matrix(f"{ours}/out"),
            attention + "to_out.1.g": value(f"{ours}.out_norm.g"),
            feed_forward + "0.g": value(f"ff.{index}.norm.g"),
            feed_forward + "1.weight": matrix(f"ff.{index}/up"),
            feed_forward + "5.weight": matrix(f"ff.{index}/down"),
        }
    return weights


@pytest.fixture(params=CASES, ids=lambda case: Path(case["file"]).stem)
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    chosen: dict[str, Any] = request.param
    return chosen


@pytest.fixture
def prior(case: dict[str, Any], tmp_path: Path) -> Prior:
    made = Prior(sizes_of(case)).eval()
    torch.save({"model_state_dict": published_weights(case)}, tmp_path / "last.pth")
    report = load_published(tmp_path / "last.pth", {"prior": made})
    assert report.missing == ["prior.null_brain_embeds", "prior.null_image_embed"]
    assert report.unexpected == []
    return made


def tensors_of(case: dict[str, Any]) -> dict[str, Tensor]:
    return {name: torch.tensor(x) for name, x in reference.tensors(case["file"]).items()}


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def test_every_step_of_sampling_with_given_noise_is_the_reference(
    case: dict[str, Any], prior: Prior
) -> None:
    given = tensors_of(case)
    schedule = CosineSchedule(case["steps"])
    checked = 0
    with torch.no_grad():
        for step in schedule.ddpm_steps(prior, given["brain_embed"], given["x_T"], given["noise"]):
            last = step.sample
            name = f"x_after_t{step.timestep}"
            if name in given:
                error = difference(step.sample, given[name])
                reference.compare(f"prior {name}", error, case["tolerance"]["result"])
                checked += 1
    assert checked == sum(name.startswith("x_after_t") for name in given)
    error = difference(last, given["result"])
    reference.compare("prior result", error, case["tolerance"]["result"])


def test_forward_at_each_given_timestep_is_the_reference(
    case: dict[str, Any], prior: Prior
) -> None:
    given = tensors_of(case)
    named = [int(name.removeprefix("pred_x0_t")) for name in given if name.startswith("pred_x0_t")]
    assert named
    for t in named:
        before = "x_T" if t == case["steps"] - 1 else f"x_after_t{t + 1}"
        if before in given:
            noisy = given[before]
        else:
            # Only some steps are stored: walk to this one.
            steps = CosineSchedule(case["steps"]).ddpm_steps(
                prior, given["brain_embed"], given["x_T"], given["noise"]
            )
            with torch.no_grad():
                noisy = next(step.sample for step in steps if step.timestep == t + 1)
        with torch.no_grad():
            found = prior(noisy, torch.tensor([t]), given["brain_embed"])
        # Walked inputs carry the drift of sampling, which has a tolerance of its own.
        which = "pred_x0" if before in given else "result"
        error = difference(found, given[f"pred_x0_t{t}"])
        reference.compare(f"prior pred_x0_t{t}", error, case["tolerance"][which])


def test_the_schedule_is_the_reference(case: dict[str, Any]) -> None:
    given = tensors_of(case)
    schedule = CosineSchedule(case["steps"])
    for name in ("betas", "alphas_cumprod", "coef_x0", "coef_xt", "log_var"):
        ours, theirs = getattr(schedule, name), given[f"sched_{name}"]
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-12)


def test_one_timestep_a_sample_is_as_each_alone() -> None:
    torch.manual_seed(0)
    prior = Prior(TINY).eval()
    noisy, brain = torch.randn(2, 3, TINY.n_token, TINY.channels)
    t = torch.tensor([99, 0, 40])
    with torch.no_grad():
        together = prior(noisy, t, brain)
        alone = torch.cat([prior(noisy[[i]], t[[i]], brain[[i]]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_dropped_condition_is_the_learned_null_embedding() -> None:
    torch.manual_seed(0)
    prior = Prior(TINY).eval()
    noisy, brain = torch.randn(2, 2, TINY.n_token, TINY.channels)
    t = torch.tensor([10, 20])
    keep = torch.tensor([True, False])
    with torch.no_grad():
        kept = prior(noisy, t, brain)
        dropped = prior(noisy, t, brain, keep, None)
        other = prior(noisy, t, torch.randn_like(brain), keep, None)
        null = prior(noisy, t, prior.null_brain_embeds.expand_as(brain))
        no_image = prior(noisy, t, brain, None, keep)
    torch.testing.assert_close(dropped[0], kept[0])
    torch.testing.assert_close(dropped[1], null[1])
    torch.testing.assert_close(dropped[1], other[1])
    assert difference(dropped[1], kept[1]) > 1e-3
    assert difference(no_image[1], kept[1]) > 1e-3


def test_relative_buckets_are_exact_near_and_shared_far() -> None:
    bucket = relative_buckets(300, 301, 32)
    assert bucket[200, 200] == 0
    assert bucket[200, 250] == 0, "keys ahead share bucket 0"
    assert bucket[200, 185] == 15
    assert bucket[200, 184] == bucket[200, 183] == 16
    assert bucket[200, 0] == 31
    assert (bucket[250, :250].diff() <= 0).all(), "nearer keys have smaller buckets"


@pytest.mark.parametrize("n_steps", [1, 5, 10, 20, 100])
def test_ddim_of_a_network_that_knows_x0_gives_x0(n_steps: int) -> None:
    torch.manual_seed(0)
    x0, noise = torch.randn(2, 2, 4, 3)
    schedule = CosineSchedule(100)
    sample = schedule.ddim(lambda x, t, brain: x0, noise, noise, n_steps)
    torch.testing.assert_close(sample, x0)


def test_ddim_timesteps_start_at_the_last_and_end_evenly() -> None:
    schedule = CosineSchedule(100)
    assert schedule.ddim_timesteps(1) == [99]
    assert schedule.ddim_timesteps(5) == [99, 79, 59, 39, 19]
    assert schedule.ddim_timesteps(100) == list(range(99, -1, -1))
    for wrong in (0, 101):
        with pytest.raises(TrainingError, match="expected 1 to 100"):
            schedule.ddim_timesteps(wrong)


def test_ddpm_and_ddim_in_all_steps_sample_the_same_distribution() -> None:
    # Of data N(0, 0.5²) the best prediction of x0 is known; both have to end with that spread.
    spread, schedule = 0.5, CosineSchedule(100)

    def best(x: Tensor, t: Tensor, brain: Tensor) -> Tensor:
        kept = schedule.alphas_cumprod[t].reshape(-1, 1, 1)
        return kept.sqrt() * spread**2 / (kept * spread**2 + 1 - kept) * x

    generator = torch.Generator().manual_seed(0)
    x_T = torch.randn(4, 50, 50, generator=generator)
    ddpm = schedule.ddpm(best, x_T, x_T, generator)
    ddim = schedule.ddim(best, x_T, x_T, 100)
    assert abs(float(ddpm.std()) - spread) < 0.02
    assert abs(float(ddim.std()) - spread) < 0.02


def test_the_same_generator_gives_the_same_sample_as_its_noise() -> None:
    torch.manual_seed(0)
    prior = Prior(TINY).eval()
    brain, x_T = torch.randn(2, 1, TINY.n_token, TINY.channels)
    schedule = CosineSchedule(6)
    drawn = torch.Generator().manual_seed(3)
    noise = torch.stack([torch.randn(x_T.shape, generator=drawn) for _ in range(6)])
    with torch.no_grad():
        given = schedule.ddpm(prior, brain, x_T, noise)
        generated = schedule.ddpm(prior, brain, x_T, torch.Generator().manual_seed(3))
    torch.testing.assert_close(given, generated, rtol=0, atol=0)


def test_adding_noise_keeps_the_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 3, 100, 100, generator=generator)
    noisy = CosineSchedule(100).q_sample(x0, torch.tensor([0, 50, 99]), noise)
    torch.testing.assert_close(noisy.var(dim=(1, 2)), torch.ones(3), rtol=0.05, atol=0.05)
    assert difference(noisy[0], x0[0]) < 0.2
    assert difference(noisy[2], noise[2]) < 0.2
