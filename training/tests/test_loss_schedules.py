import math

import pytest
import torch

from corticast_training.loss.progressive import TASKS, weights
from corticast_training.loss.schedules import cosine_anneal
from corticast_training.loss.segmentation import bce, dice


def test_the_temperature_goes_from_start_to_end_along_half_a_cosine() -> None:
    values = [cosine_anneal(0.004, 0.0075, epoch, 51) for epoch in range(51)]
    assert values[0] == pytest.approx(0.004)
    assert values[25] == pytest.approx(0.00575)
    assert values[50] == pytest.approx(0.0075)
    assert values == sorted(values)


def test_one_epoch_keeps_the_first_temperature() -> None:
    assert cosine_anneal(0.004, 0.0075, 0, 1) == pytest.approx(0.004)


def test_each_task_peaks_at_ten_in_the_middle_of_its_period() -> None:
    # 50 epochs: a period of 20, beginning at 0, 10, 20 and 30.
    for index, task in enumerate(TASKS):
        course = [weights(epoch, 50)[task] for epoch in range(50)]
        start = 10 * index
        assert max(course) == pytest.approx(10) == course[start + 10]
        assert course[start + 5] == pytest.approx(1 + 9 * math.sqrt(0.5))
        assert all(w == 1 for w in course[: start + 1])
        assert all(w == 1 for w in course[start + 20 :])


def test_the_last_period_ends_with_the_training() -> None:
    assert weights(49, 50)["reconstruction"] > 1


def test_a_training_of_few_epochs_has_no_periods() -> None:
    assert set(weights(2, 4).values()) == {1.0}


def test_an_undecided_mask_costs_the_logarithm_of_two_a_pixel() -> None:
    mask = torch.tensor([[[0.0, 1.0], [1.0, 1.0]]])
    assert bce(torch.zeros(1, 2, 2), mask).item() == pytest.approx(math.log(2))


def test_dice_of_a_half_covered_object() -> None:
    # Certain of two pixels, one of them right, one object pixel missed: 1 - 2·1/(2 + 2).
    logits = torch.tensor([[100.0, 100.0, -100.0, -100.0]])
    assert dice(logits, torch.tensor([[1, 0, 1, 0]])).item() == pytest.approx(0.5)


def test_an_empty_mask_that_is_found_empty_costs_nothing() -> None:
    assert dice(torch.full((1, 4), -100.0), torch.zeros(1, 4)).item() == pytest.approx(0.0)


def test_masks_are_judged_clip_by_clip() -> None:
    logits = torch.tensor([[3.0, -1.0], [0.5, 2.0]])
    mask = torch.tensor([[1, 0], [0, 1]])
    for loss in (bce, dice):
        both = loss(logits, mask)
        assert both.shape == (2,)
        torch.testing.assert_close(loss(logits[1:], mask[1:]), both[1:])
