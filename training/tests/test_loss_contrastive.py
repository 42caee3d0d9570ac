import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from corticast_training.loss.contrastive import bimixco, info_nce, soft_clip, unit_rows
from corticast_training.loss.mixco import Mix

E1, E2 = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
BASIS = torch.cat([E1, E2])


def random_rows(n: int, seed: int, width: int = 5) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def test_two_orthogonal_pairs_give_the_closed_form() -> None:
    # Scores are I/τ, so every row is log(1 + e^(-1/τ)).
    expected = math.log1p(math.exp(-1 / 0.5))
    assert info_nce(BASIS, BASIS, 0.5).item() == pytest.approx(expected, rel=1e-6)


def test_swapped_pairs_cost_one_over_the_temperature_more() -> None:
    swapped = info_nce(BASIS, BASIS.flip(0), 0.5)
    assert swapped.item() == pytest.approx(2 + math.log1p(math.exp(-2)), rel=1e-6)


def test_identical_rows_cost_the_logarithm_of_the_batch() -> None:
    same = torch.ones(7, 3)
    assert info_nce(same, same, 0.01).item() == pytest.approx(math.log(7), rel=1e-6)
    assert soft_clip(same, same, 0.01).item() == pytest.approx(math.log(7), rel=1e-6)


def test_bimixco_of_two_swapped_samples_weighs_both_answers() -> None:
    share, partner = torch.tensor([0.75, 1.0]), torch.tensor([1, 0])
    log_right, log_wrong = -math.log1p(math.exp(-2)), -math.log1p(math.exp(2))
    forward = -(0.75 * log_right + 0.25 * log_wrong + log_right) / 2
    backward = -(0.75 * log_right + log_right + 0.25 * log_wrong) / 2
    found = bimixco(BASIS, BASIS, 0.5, share, partner)
    assert found.item() == pytest.approx((forward + backward) / 2, rel=1e-6)


def test_bimixco_without_blending_is_the_plain_loss() -> None:
    brain, image = random_rows(6, 0), random_rows(6, 1)
    partner = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    mixed = bimixco(brain, image, 0.1, torch.ones(6), partner)
    torch.testing.assert_close(mixed, info_nce(brain, image, 0.1))


def test_a_sample_that_is_its_own_partner_keeps_its_whole_weight() -> None:
    brain, image = random_rows(4, 0), random_rows(4, 1)
    share = torch.tensor([0.3, 0.6, 0.9, 0.1])
    mixed = bimixco(brain, image, 0.1, share, torch.arange(4))
    torch.testing.assert_close(mixed, info_nce(brain, image, 0.1))


@pytest.mark.parametrize("loss", [info_nce, soft_clip])
def test_the_order_of_the_samples_does_not_matter(loss) -> None:  # type: ignore[no-untyped-def]
    brain, image = random_rows(9, 3), random_rows(9, 4)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(loss(brain[order], image[order], 0.1), loss(brain, image, 0.1))


def test_bimixco_follows_a_reordering_of_samples_and_partners() -> None:
    brain, image = random_rows(8, 3), random_rows(8, 4)
    mix = Mix.draw(np.random.default_rng(0), [8], 0.15)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(5))
    place = torch.argsort(order)
    found = bimixco(brain[order], image[order], 0.1, mix.share[order], place[mix.partner[order]])
    torch.testing.assert_close(found, bimixco(brain, image, 0.1, mix.share, mix.partner))


def test_the_plain_loss_is_symmetric_in_brain_and_image() -> None:
    brain, image = random_rows(6, 0), random_rows(6, 1)
    torch.testing.assert_close(info_nce(brain, image, 0.2), info_nce(image, brain, 0.2))


def test_soft_targets_of_two_images_are_their_similarities() -> None:
    angle = 0.4
    image = torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)]])
    weight = 1 / (1 + math.exp((math.cos(angle) - 1) / 0.5))
    entropy = -(weight * math.log(weight) + (1 - weight) * math.log(1 - weight))
    # A brain equal to its teacher is left with the entropy of the targets.
    assert soft_clip(image, image, 0.5).item() == pytest.approx(entropy, rel=1e-5)


def test_soft_clip_is_least_where_brain_equals_image() -> None:
    image = random_rows(6, 1)
    best = soft_clip(image, image, 0.1)
    for seed in range(5):
        assert soft_clip(image + 0.3 * random_rows(6, 10 + seed), image, 0.1) > best


def test_soft_clip_sends_no_gradient_through_its_targets() -> None:
    brain, image = random_rows(4, 0), random_rows(4, 1).requires_grad_()
    (through_scores,) = torch.autograd.grad(soft_clip(brain, image, 0.1), image)
    frozen = image.detach().clone().requires_grad_()
    teacher = unit_rows(frozen.detach())
    scores = unit_rows(brain) @ unit_rows(frozen).T / 0.1
    target = (teacher @ teacher.T / 0.1).softmax(-1)
    loss = -(target * (scores.log_softmax(-1) + scores.T.log_softmax(-1))).sum(-1).mean() / 2
    (expected,) = torch.autograd.grad(loss, frozen)
    torch.testing.assert_close(through_scores, expected)


def test_the_length_of_an_embedding_does_not_matter() -> None:
    brain, image = random_rows(4, 0), random_rows(4, 1)
    torch.testing.assert_close(info_nce(3 * brain, image, 0.1), info_nce(brain, image, 0.1))


def test_gradients_agree_with_differences() -> None:
    image = random_rows(4, 1)
    brain = random_rows(4, 0).requires_grad_()
    share, partner = torch.tensor([0.2, 1.0, 0.7, 1.0]), torch.tensor([2, 0, 1, 3])
    losses: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
        lambda x: info_nce(x, image, 0.5),
        lambda x: bimixco(x, image, 0.5, share, partner),
        lambda x: soft_clip(x, image, 0.5),
    )
    for loss in losses:
        (gradient,) = torch.autograd.grad(loss(brain), brain)
        direction = random_rows(4, 7)
        step = 1e-2
        with torch.no_grad():
            change = loss(brain + step * direction) - loss(brain - step * direction)
        slope = (change / (2 * step)).item()
        assert (gradient * direction).sum().item() == pytest.approx(slope, rel=2e-2, abs=1e-4)


def test_half_of_the_samples_are_blended_and_partners_stay_in_their_group() -> None:
    mix = Mix.draw(np.random.default_rng(1), [6, 4], 0.15)
    assert int((mix.share != 1).sum()) == 5
    assert sorted(mix.partner[:6].tolist()) == list(range(6))
    assert sorted(mix.partner[6:].tolist()) == list(range(6, 10))
    assert ((mix.share >= 0) & (mix.share <= 1)).all()


def test_lambda_is_beta_distributed() -> None:
    mix = Mix.draw(np.random.default_rng(2), [20000], 0.15)
    drawn = mix.share[mix.share != 1]
    # Beta(a, a): mean ½, variance 1 / (4(2a + 1)).
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.02)
    assert drawn.var().item() == pytest.approx(1 / (4 * 1.3), abs=0.01)


def test_blending_is_the_weighted_mean_of_a_sample_and_its_partner() -> None:
    mix = Mix(torch.tensor([0.25, 1.0]), torch.tensor([1, 0]))
    bold = torch.tensor([[[4.0, 0.0]], [[0.0, 8.0]]])
    blended = mix.apply(bold, bold[mix.partner], torch.arange(2))
    torch.testing.assert_close(blended, torch.tensor([[[1.0, 6.0]], [[0.0, 8.0]]]))
