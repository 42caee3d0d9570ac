import dataclasses
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

import reference
from corticast_training.config import Config, Sizes
from corticast_training.errors import TrainingError
from corticast_training.model.brain import BrainModel
from corticast_training.model.decoupler import Decoupler
from corticast_training.model.positions import rotary_frequencies
from corticast_training.model.prior import Prior
from corticast_training.model.published import load_published
from corticast_training.model.published_names import ours

PAPER = Config.load("paper").sizes
CC2017 = {"01": 13447, "02": 14828, "03": 9114}
# Tiny, with the paper's depth, and channels that differ from level to level as the paper's do.
SMALL = dataclasses.replace(
    Config.load("tiny").sizes,
    prior_depth=PAPER.prior_depth,
    decoder_channels=(32, 16, 8),
    up_channels=(16, 8, 4),
)
N_VOXEL = {"01": 100, "02": 80}


def published_shapes() -> dict[str, list[int]]:
    text = (reference.folder() / "state_dict_names.json").read_text()
    shapes: dict[str, list[int]] = json.loads(text)["tensors"]
    return shapes


def gpt2_shapes(sizes: Sizes) -> dict[str, list[int]]:
    """What the reference says of the captioner in words: GPT-2 and its prefix."""
    with torch.device("meta"):
        config = GPT2Config(
            n_positions=sizes.caption_positions,
            n_embd=sizes.caption_embd,
            n_layer=sizes.caption_layers,
            n_head=sizes.caption_heads,
        )
        state = GPT2LMHeadModel(config).state_dict()
    shapes = {f"text_dec.decoder.{name}": list(tensor.shape) for name, tensor in state.items()}
    return shapes | {
        "text_dec.clip_project.model.0.weight": [sizes.caption_embd, sizes.text_dim],
        "text_dec.clip_project.model.0.bias": [sizes.caption_embd],
    }


def scaled(name: str, shape: list[int], sizes: Sizes, n_voxel: int) -> list[int]:
    """A published shape with the sizes of ours in place of the paper's."""
    p, s = PAPER, sizes
    if name.startswith(("ridge", "backbone")):
        sizes_of = {
            13447: n_voxel,
            p.hidden: s.hidden,
            p.channels: s.channels,
            p.n_token * p.channels: s.n_token * s.channels,
        }
    elif name.startswith("diffusion_prior"):
        if "rotary" in name:
            return [min(32, s.prior_dim_head) // 2]
        if "relative_attention_bias" in name:
            return [32, s.prior_heads]
        sizes_of = {k * p.channels: k * s.channels for k in (1, 2, 4, 8)}
        sizes_of |= {k * p.prior_dim_head: k * s.prior_dim_head for k in (1, 2)}
        sizes_of[p.n_token] = s.n_token
    else:
        sizes_of = {
            p.channels: s.channels,
            p.channels * p.n_frame: s.channels * s.n_frame,
            p.text_dim: s.text_dim,
        }
        sizes_of |= dict(zip(p.decoder_channels, s.decoder_channels, strict=True))
        sizes_of |= dict(zip(p.up_channels, s.up_channels, strict=True))
    return [sizes_of.get(size, size) for size in shape]


def checkpoint(sizes: Sizes = SMALL, n_voxel: int = 100) -> dict[str, Tensor]:
    """Random weights under every published name, at our sizes."""
    torch.manual_seed(0)
    shapes = {
        name: scaled(name, shape, sizes, n_voxel) for name, shape in published_shapes().items()
    }
    weights = {name: torch.randn(shape) for name, shape in (shapes | gpt2_shapes(sizes)).items()}
    weights["text_dec.decoder.lm_head.weight"] = weights["text_dec.decoder.transformer.wte.weight"]
    for name in weights:
        if name.endswith("rotary_emb.freqs"):
            weights[name] = rotary_frequencies(sizes.prior_dim_head)
    return weights


def networks(sizes: Sizes = SMALL, n_voxel: Mapping[str, int] = N_VOXEL) -> dict[str, nn.Module]:
    torch.manual_seed(1)
    projection = torch.randn(sizes.channels, sizes.text_dim)
    return {
        "brain": BrainModel(sizes, n_voxel, 1, projection),
        "prior": Prior(sizes),
        "decoupler": Decoupler(sizes),
    }


def save(path: Path, weights: Mapping[str, object]) -> Path:
    """As the published training scripts: beside the state of an optimiser."""
    torch.save({"epoch": 3, "model_state_dict": dict(weights), "train_losses": [0.5]}, path)
    return path


def test_paper_sizes_are_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        brain = BrainModel(PAPER, CC2017, 1, torch.empty(PAPER.channels, PAPER.text_dim))
        made = {"brain": brain, "prior": Prior(PAPER), "decoupler": Decoupler(PAPER)}
    have = {
        f"{part}.{name}": list(tensor.shape)
        for part, network in made.items()
        for name, tensor in network.state_dict().items()
    }
    assert len(published_shapes()) == 384
    expected, computed = {}, []
    for name, shape in (published_shapes() | gpt2_shapes(PAPER)).items():
        target = ours(name, "01")
        assert target is not None, name
        if target:
            expected[target] = shape
        else:
            computed.append(name)
    other_subjects = {
        f"brain.ridge.linears.sub-{subject}.{what}": shape
        for subject in ("02", "03")
        for what, shape in (("weight", [PAPER.hidden, CC2017[subject]]), ("bias", [PAPER.hidden]))
    }
    assert have == expected | other_subjects
    assert computed[-1] == "text_dec.decoder.lm_head.weight"
    assert all(re.search(r"rotary_emb\.freqs", name) for name in computed[:-1])
    shape = published_shapes()["diffusion_prior.net.causal_transformer.layers.0.0.rotary_emb.freqs"]
    assert list(rotary_frequencies(PAPER.prior_dim_head).shape) == shape


def test_a_whole_checkpoint_loads_into_every_network(tmp_path: Path) -> None:
    weights, made = checkpoint(), networks()
    path = save(tmp_path / "brain_model_prior_last.pth", weights)
    report = load_published(path, made, subject="01")
    assert report.unexpected == []
    # The other subject has no part in a checkpoint of one.
    assert report.missing == [f"brain.ridge.linears.sub-02.{k}" for k in ("bias", "weight")]
    for name, tensor in weights.items():
        target = ours(name, "01")
        if target:
            part, _, within = target.partition(".")
            assert torch.equal(made[part].state_dict()[within], tensor), name


def test_the_brain_model_of_stage_1_loads_by_itself(tmp_path: Path) -> None:
    weights = {
        name: tensor
        for name, tensor in checkpoint(n_voxel=80).items()
        if name.startswith(("ridge", "backbone", "clipproj"))
    }
    made = networks()
    path = save(tmp_path / "brain_model.pth", weights)
    report = load_published(path, {"brain": made["brain"]}, subject="02")
    assert report.missing == [f"brain.ridge.linears.sub-01.{k}" for k in ("bias", "weight")]
    assert report.unexpected == []


def test_mindeye2_gives_backbone_and_prior_and_its_subjects_are_left_out(tmp_path: Path) -> None:
    kept = ("backbone", "diffusion_prior")
    weights = {name: w for name, w in checkpoint().items() if name.startswith(kept)}
    weights["ridge.linears.0.weight"] = torch.randn(SMALL.hidden, 15724)
    weights["backbone.blin1.weight"] = torch.randn(4, 4)
    weights["diffusion_prior.noise_scheduler.betas"] = torch.rand(100)
    path = save(tmp_path / "last.pth", {f"module.{name}": w for name, w in weights.items()})
    made = networks()
    before = made["brain"].get_parameter("ridge.linears.sub-01.weight").clone()
    report = load_published(path, {k: made[k] for k in ("brain", "prior")})
    assert report.unexpected == ["backbone.blin1.weight", "ridge.linears.0.weight"]
    assert [name for name in report.missing if "ridge" not in name] == ["brain.text.proj"]
    assert "diffusion_prior.noise_scheduler.betas" in report.recomputed
    assert torch.equal(made["brain"].get_parameter("ridge.linears.sub-01.weight"), before)
    told = str(report)
    assert "2 unexpected: backbone.blin1.weight, ridge.linears.0.weight" in told
    assert "brain.text.proj" in told


@pytest.mark.parametrize("name", ["proj", "clipproj.proj"])
def test_the_text_projection_loads_alone(tmp_path: Path, name: str) -> None:
    brain = networks()["brain"]
    proj = torch.randn(SMALL.channels, SMALL.text_dim)
    torch.save({name: proj}, tmp_path / "coco_tokens_avg_proj.pth")
    report = load_published(
        tmp_path / "coco_tokens_avg_proj.pth", {"brain": brain}, only=["brain.text"]
    )
    assert (report.loaded, report.missing) == (["brain.text.proj"], [])
    assert torch.equal(brain.state_dict()["text.proj"], proj)


def test_missing_and_unexpected_weights_are_listed(tmp_path: Path) -> None:
    weights = checkpoint()
    del weights["motion_proj.motion_proj.bias"]
    weights["text_seg_dec.something_else"] = torch.zeros(3)
    report = load_published(save(tmp_path / "a.pth", weights), networks(), subject="01")
    assert "decoupler.motion.proj.bias" in report.missing
    assert report.unexpected == ["text_seg_dec.something_else"]


def test_a_checkpoint_of_another_size_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    weights = checkpoint()
    weights["motion_proj.motion_proj.weight"] = torch.randn(7, SMALL.channels)
    made = networks()
    before = {k: v.clone() for k, v in made["brain"].state_dict().items()}
    expected = [SMALL.channels * SMALL.n_frame, SMALL.channels]
    message = f"motion_proj.motion_proj.weight is [7, {SMALL.channels}], expected {expected}"
    with pytest.raises(TrainingError, match=re.escape(message)):
        load_published(save(tmp_path / "a.pth", weights), made, subject="01")
    after = made["brain"].state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_subject_with_other_voxels_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "brain_model.pth", checkpoint(n_voxel=100))
    with pytest.raises(TrainingError, match=r"ridge.linears.0.weight is \[64, 100\], expected"):
        load_published(path, networks(), subject="02")


class Danger:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("ran",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"model_state_dict": checkpoint(), "extra": Danger()}, tmp_path / "a.pth")
    with pytest.raises(TrainingError, match="could run code"):
        load_published(tmp_path / "a.pth", networks())
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Danger()))
    with pytest.raises(TrainingError, match=r"b\.pth"):
        load_published(tmp_path / "b.pth", networks())
    assert capsys.readouterr().out == ""


def test_files_that_are_no_checkpoints_are_refused_with_a_message(tmp_path: Path) -> None:
    made = networks()
    whole = save(tmp_path / "whole.pth", checkpoint()).read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    torch.save({"model_state_dict": {"a": 1.0}}, tmp_path / "number.pth")
    torch.save({"a": torch.zeros(3)}, tmp_path / "unknown.pth")
    weights = checkpoint()
    weights["clipproj.proj"][0, 0] = float("nan")
    save(tmp_path / "nan.pth", weights)
    for name, message in (
        ("cut.pth", "cut.pth"),
        ("empty.pth", "empty.pth"),
        ("text.pth", "text.pth"),
        ("text.safetensors", "not a safetensors file"),
        ("list.pth", "expected named tensors"),
        ("number.pth", "'a' is a float, expected tensors only"),
        ("unknown.pth", "none of its 1 weights is known"),
        ("nan.pth", "clipproj.proj holds NaN or Inf"),
        ("none.pth", "missing"),
    ):
        with pytest.raises(TrainingError, match=re.escape(message)):
            load_published(tmp_path / name, made, subject="01")


def test_files_of_older_pytorch_load(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(checkpoint(), path, _use_new_zipfile_serialization=False)
    assert load_published(path, networks(), subject="01").unexpected == []


def test_half_precision_loads_as_single(tmp_path: Path) -> None:
    made = networks()
    save_file({"clipproj.proj": torch.ones(32, 32).half()}, tmp_path / "a.safetensors")
    load_published(tmp_path / "a.safetensors", made)
    assert made["brain"].state_dict()["text.proj"].dtype == torch.float32
