import pytest
import torch

from corticast_training.config import Config
from corticast_training.errors import TrainingError
from corticast_training.model.brain import BrainModel
from corticast_training.model.memory import check_memory, estimate, free_memory

CPU = torch.device("cpu")
CC2017 = {"01": 13447, "02": 14828, "03": 9114}


def test_paper_size_is_estimated_without_taking_it() -> None:
    sizes = Config.load("paper").sizes
    free = free_memory(CPU)
    found = estimate(sizes, CC2017, 1, stage="brain", batch=120)
    assert found.n_parameter == {"brain": 2_041_019_032}
    projection = sizes.channels * sizes.text_dim
    assert found.weights == 4 * (2_041_019_032 + projection)
    assert found.gradients == 4 * 2_041_019_032
    assert found.optimiser == 2 * found.gradients
    assert found.training > 34e9
    if free is not None:
        assert free > 0


def test_the_second_stage_trains_no_brain_model() -> None:
    sizes = Config.load("tiny").sizes
    found = estimate(sizes, {"01": 500}, 1, stage="decoupler", batch=4)
    trained = found.n_parameter["prior"] + found.n_parameter["decoupler"]
    assert found.gradients == 4 * trained
    assert found.weights > found.gradients + 4 * found.n_parameter["brain"]


def test_activations_grow_with_the_batch_and_shrink_in_half_precision() -> None:
    sizes = Config.load("tiny").sizes

    def activations(batch: int, precision: str = "32-true") -> int:
        return estimate(
            sizes, {"01": 50}, 1, stage="decoupler", batch=batch, precision=precision
        ).activations

    assert 1.9 < activations(20) / activations(10) < 2.1
    assert activations(20, "bf16-mixed") < activations(20)


def test_kept_activations_are_those_of_a_real_forward_pass() -> None:
    sizes = Config.load("tiny").sizes
    torch.manual_seed(0)
    brain = BrainModel(sizes, {"01": 50}, 1, torch.zeros(sizes.channels, sizes.text_dim))
    own = {p.untyped_storage().data_ptr() for p in brain.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = brain(torch.randn(8, 1, 50), "01")
        torch.nn.functional.normalize(out.tokens.flatten(1), dim=-1).sum()
    real = sum(t.untyped_storage().nbytes() for t in saved.values())
    found = estimate(sizes, {"01": 50}, 1, stage="brain", batch=8).activations
    assert found == pytest.approx(real, rel=0.02)


def test_shards_share_what_training_keeps() -> None:
    sizes = Config.load("tiny").sizes
    whole = estimate(sizes, {"01": 50}, 1, stage="brain", batch=4)
    shared = estimate(sizes, {"01": 50}, 1, stage="brain", batch=4, n_shard=2)
    assert shared.weights == whole.weights // 2
    assert shared.activations == whole.activations


def test_an_estimate_draws_no_random_numbers() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    estimate(Config.load("tiny").sizes, {"01": 50}, 1, stage="decoupler", batch=2)
    assert torch.equal(torch.rand(3), expected)


def test_too_little_memory_is_said_before_the_start() -> None:
    check_memory(1000, CPU)
    with pytest.raises(
        TrainingError, match=r"not enough memory: training takes about 1000000\.0 GB"
    ):
        check_memory(10**15, CPU, "training")
