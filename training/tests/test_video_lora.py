"""Adapters fused into a network: the formula by hand, each spelling of keys, what does not fit."""

import pytest
import torch
from torch import Tensor, nn

from corticast_training.errors import TrainingError
from corticast_training.video.lora import fuse_lora


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(2, 2, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(2, 2, bias=False), nn.Identity()])
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn1 = Attention()


DOWN, UP = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [5.0]])


@pytest.mark.parametrize(
    ("down", "up"),
    [
        ("attn1.processor.to_q_lora.down.weight", "attn1.processor.to_q_lora.up.weight"),
        ("module.attn1.processor.to_q_lora.down.weight", "module.attn1.to_q_lora.up.weight"),
        ("base_model.model.attn1.to_q.lora_A.weight", "base_model.model.attn1.to_q.lora_B.weight"),
        ("lora_unet_attn1_to_q.lora_down.weight", "lora_unet_attn1_to_q.lora_up.weight"),
    ],
)
def test_every_spelling_adds_up_times_down(down: str, up: str) -> None:
    block = Block()
    fused = fuse_lora(block, {down: DOWN, up: UP}, 0.5, "file")
    assert fused.layers == ["attn1.to_q"]
    assert block.attn1.to_q.weight.tolist() == [[1.5, 3.0], [2.5, 5.0]]


def test_alpha_over_rank_scales_the_change() -> None:
    block, key = Block(), "lora_unet_attn1_to_q"
    tensors = {
        f"{key}.lora_down.weight": DOWN,
        f"{key}.lora_up.weight": UP,
        f"{key}.alpha": torch.tensor(4.0),
    }
    fuse_lora(block, tensors, 1.0, "file")
    assert block.attn1.to_q.weight.tolist() == [[12.0, 24.0], [20.0, 40.0]]


def test_keys_of_the_text_encoder_are_counted_and_left_out() -> None:
    tensors = {
        "attn1.to_out.lora.down.weight": DOWN,
        "attn1.to_out.lora.up.weight": UP,
        "lora_te_text_model.lora_down.weight": DOWN,
    }
    fused = fuse_lora(Block(), tensors, 1.0, "file")
    assert (fused.layers, fused.text_keys) == (["attn1.to_out.0"], 1)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"nowhere.lora_down.weight": DOWN}, "1 of 1 keys have no place in the UNet"),
        ({"attn1.to_q.lora_A.weight": DOWN}, "attn1.to_q has .'down'., expected up and down"),
        (
            {"attn1.to_q.lora_A.weight": DOWN, "attn1.to_q.lora_B.weight": UP[:1]},
            "expected a product of",
        ),
        ({}, "no LoRA weights of a UNet in it"),
    ],
)
def test_an_adapter_that_does_not_fit_changes_nothing(
    tensors: dict[str, Tensor], message: str
) -> None:
    block = Block()
    with pytest.raises(TrainingError, match=message):
        fuse_lora(block, tensors, 1.0, "adapter.safetensors")
    assert not any(parameter.any() for parameter in block.parameters())
