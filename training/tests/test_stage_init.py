"""Published weights to begin with, through the command line."""

from pathlib import Path

import pytest
import tomli_w
import torch
from safetensors.torch import load_file
from torch import Tensor

from corticast_training.cli import main
from corticast_training.config import Config, Sizes
from corticast_training.training.state import load_state
from movie_study import Study, command, train
from test_published import gpt2_shapes, published_shapes, save, scaled

STILL = ("max_learning_rate=0", "weight_decay=0")
"""Weights stay as they began."""


def still(stage: str) -> list[str]:
    settings = [part for one in STILL for part in ("--set", f"{stage}.{one}")]
    return [*settings, "--max-steps", "1"]


def began_with(out: Path) -> dict[str, Tensor]:
    tensors, _ = load_state(out / "checkpoint-00000001")
    return {k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")}


def published(sizes: Sizes) -> dict[str, Tensor]:
    """Random weights under the published names of backbone, ridge, prior and captioner."""
    torch.manual_seed(7)
    shapes = {
        name: scaled(name, shape, sizes, n_voxel=128)
        for name, shape in published_shapes().items()
        if name.startswith(("ridge", "backbone", "diffusion_prior"))
    }
    return {name: torch.randn(shape) for name, shape in (shapes | gpt2_shapes(sizes)).items()}


def sizes_of(study: Study, **changes: int) -> Sizes:
    overrides = {f"sizes.{name}": value for name, value in changes.items()}
    return Config.load(str(study.config), overrides).sizes


def test_stage_1_begins_with_mindeye2s_backbone_and_new_ridges(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = published(sizes_of(study))
    path = save(tmp_path / "last.pth", weights)
    train("brain", study, tmp_path / "a", "--init", str(path), *still("brain"))
    said = capsys.readouterr().out
    assert "weights loaded" in said and "unexpected: " in said and "brain.ridge" in said
    found = began_with(tmp_path / "a")
    for name, tensor in weights.items():
        # The small model has two of the four mixer blocks.
        if name.startswith("backbone.") and f"brain.{name}" in found:
            assert torch.equal(found[f"brain.{name}"], tensor), name
    ridge = found["brain.ridge.linears.sub-01.weight"]
    assert not torch.equal(ridge, weights["ridge.linears.0.weight"])
    train(
        "brain", study, tmp_path / "b", "--init", str(path), "--init-subject", "01", *still("brain")
    )
    ridge = began_with(tmp_path / "b")["brain.ridge.linears.sub-01.weight"]
    assert torch.equal(ridge, weights["ridge.linears.0.weight"])


def test_stage_2_begins_with_a_published_prior_and_gpt2(
    study: Study, brain: Path, tmp_path: Path
) -> None:
    weights = published(sizes_of(study))
    prior = save(tmp_path / "brain_model_prior_last.pth", weights)
    gpt2 = {
        name.removeprefix("text_dec.decoder."): tensor
        for name, tensor in weights.items()
        if name.startswith("text_dec.decoder.")
    }
    torch.save(gpt2, tmp_path / "gpt2.pth")
    more = ["--brain", str(brain), "--init-prior", str(prior)]
    more += ["--init-caption", str(tmp_path / "gpt2.pth"), *still("decoupler")]
    train("decoupler", study, tmp_path / "a", *more)
    found = began_with(tmp_path / "a")
    query = weights["diffusion_prior.net.learned_query"]
    assert torch.equal(found["prior.learned_query"], query)
    words = weights["text_dec.decoder.transformer.wte.weight"]
    assert torch.equal(found["decoupler.captioner.wte.weight"], words)


def test_going_on_does_not_begin_again(study: Study, tmp_path: Path) -> None:
    path = save(tmp_path / "last.pth", published(sizes_of(study)))
    init = ("--init", str(path))
    train("brain", study, tmp_path / "uncut", *init)
    train("brain", study, tmp_path / "cut", *init, "--max-steps", "8")
    train("brain", study, tmp_path / "cut", *init, "--resume")
    found, expected = (load_file(tmp_path / n / "model.safetensors") for n in ("cut", "uncut"))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_weights_of_another_size_leave_nothing_behind(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "last.pth", published(sizes_of(study, hidden=48)))
    out = tmp_path / "a"
    assert main([*command("brain", study, out), "--init", str(path)]) == 1
    assert "a checkpoint of another size" in capsys.readouterr().err
    assert not out.exists()


def test_a_prior_that_was_trained_first_is_begun_with(
    study: Study, brain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prior, out = tmp_path / "prior", tmp_path / "out"
    on = ("--brain", str(brain))
    train("decoupler", study, prior, *on, "--set", "decoupler.decoupled=false")
    train("decoupler", study, out, *on, "--init", str(prior), *still("decoupler"))
    kept, began = load_file(prior / "model.safetensors"), began_with(out)
    same = {name for name in kept if torch.equal(kept[name], began[name])}
    assert {name for name in kept if name.startswith(("prior.", "decoupler.motion."))} <= same
    assert "decoupler.concepts.proj.weight" not in same

    other = Config.load(str(study.config)).tables()
    other["sizes"]["prior_depth"] = 2
    (tmp_path / "other.toml").write_text(tomli_w.dumps(other))
    deeper = tmp_path / "deeper"
    more = ("--preset", str(tmp_path / "other.toml"))
    assert main([*command("brain", study, deeper)[:-4], *more, "--out", str(deeper)]) == 0
    given = command("decoupler", study, tmp_path / "no")
    assert main([*given, "--brain", str(deeper), "--init", str(prior)]) == 1
    assert "layers.1" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
