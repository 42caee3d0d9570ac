import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from corticast_training.labels.config import LabelsConfig
from corticast_training.labels.key_object import Rule, centroids, choose

CONFIG = LabelsConfig.load()
RULES = CONFIG.key_object
CLASS = {"dog": "mammal", "man": "human", "car": "vehicle", "ball": "toy", "bus": "vehicle"}
CLASS |= {"dunes": "landscape feature", "sky": "art"}


def squares(*corners: tuple[int, int] | None, size: int = 2, px: int = 20) -> NDArray[np.bool_]:
    """A square in each frame, at the row and column of its upper left corner."""
    masks = np.zeros((len(corners), px, px), np.bool_)
    for mask, corner in zip(masks, corners, strict=True):
        if corner is not None:
            mask[corner[0] : corner[0] + size, corner[1] : corner[1] + size] = True
    return masks


def chosen(**masks: NDArray[np.bool_]) -> tuple[str | None, Rule]:
    choice = choose(masks, CLASS, RULES)
    return choice.tag, choice.rule


def moved(**masks: NDArray[np.bool_]) -> dict[str, float]:
    return {found.tag: found.moved_px for found in choose(masks, CLASS, RULES).candidates}


def test_a_centroid_is_the_mean_position_of_the_pixels() -> None:
    found = centroids(squares((0, 0), (3, 5), None))
    np.testing.assert_array_equal(found[:2], [[0.5, 0.5], [3.5, 5.5]])
    assert np.isnan(found[2]).all()


def test_displacement_is_summed_over_consecutive_frames_and_doubled_for_priority() -> None:
    # 3-4-5 triangle out and back: 5 + 5 px, though it ends where it began.
    path = squares((0, 0), (3, 4), (0, 0))
    assert moved(car=path) == {"car": pytest.approx(10)}
    assert moved(dog=path) == {"dog": pytest.approx(20)}
    assert moved(man=path) == {"man": pytest.approx(20)}


def test_a_person_or_an_animal_that_moves_wins_over_all_that_moves_farther() -> None:
    far, near = squares((0, 0), (0, 15)), squares((0, 0), (0, 1))
    assert chosen(car=far, dog=near) == ("dog", Rule.PRIORITY)
    assert chosen(dog=near, man=squares((0, 0), (0, 2))) == ("man", Rule.PRIORITY)


def test_a_person_that_stands_still_does_not_win() -> None:
    still, near = squares((4, 4), (4, 4)), squares((0, 0), (0, 1))
    assert chosen(man=still, car=near) == ("car", Rule.SMALL)
    assert chosen(man=still) == ("man", Rule.SMALL)


def test_what_fills_half_of_the_last_frame_comes_after_what_does_not() -> None:
    half = np.zeros((2, 20, 20), np.bool_)
    half[0, :10], half[1, 5:15] = True, True
    near = squares((0, 0), (0, 1))
    assert chosen(bus=half, ball=near) == ("ball", Rule.SMALL)
    half[1, 5, 0] = False
    assert chosen(bus=half, ball=near) == ("bus", Rule.SMALL)
    # Only the last frame counts.
    shrinking = np.zeros((2, 20, 20), np.bool_)
    shrinking[0], shrinking[1, 5:9] = True, True
    assert chosen(bus=shrinking, ball=near) == ("bus", Rule.SMALL)


def test_where_all_are_large_the_farthest_wins() -> None:
    masks = np.ones((2, 2, 20, 20), np.bool_)
    masks[0, 1, :2] = masks[1, 1, :4] = False
    assert chosen(car=masks[0], bus=masks[1]) == ("bus", Rule.LARGEST)


def test_background_is_never_chosen_by_its_tag_or_by_its_class() -> None:
    far = squares((0, 0), (0, 15))
    assert chosen(sky=far, dunes=far) == (None, Rule.NONE)
    assert chosen(sky=far, ball=squares((0, 0), (0, 0))) == ("ball", Rule.SMALL)


def test_what_no_two_consecutive_frames_show_is_no_candidate() -> None:
    assert chosen(dog=squares((0, 0), None, (0, 9))) == (None, Rule.NONE)
    assert chosen(dog=squares(None, None)) == (None, Rule.NONE)
    assert choose({}, {}, RULES).tag is None
    # Steps around a gap count, the jump over it does not.
    assert moved(car=squares((0, 0), (0, 2), None, (9, 9), (9, 10))) == {"car": pytest.approx(3)}


def test_of_equal_sums_the_earlier_tag_wins() -> None:
    path = squares((0, 0), (0, 3))
    assert chosen(car=path, ball=path)[0] == "car"
    assert chosen(ball=path, car=path)[0] == "ball"


@pytest.mark.parametrize("seed", range(20))
def test_random_clips_obey_the_rules_as_said_in_words(seed: int) -> None:
    """The rules once more, pixel by pixel in plain Python, on random masks."""
    rng = np.random.default_rng(seed)
    tags = list(rng.permutation(list(CLASS)))[: rng.integers(1, len(CLASS) + 1)]
    masks: dict[str, Any] = {}
    for tag in tags:
        full = rng.random((4, 8, 8)) < rng.choice([0.05, 0.3, 0.7])
        masks[tag] = full & (rng.random((4, 1, 1)) < 0.8)
        if rng.random() < 0.3:
            masks[tag][:] = masks[tag][0]
    sums: dict[str, float] = {}
    areas: dict[str, float] = {}
    for tag, mask in masks.items():
        if tag in ("sky", "dunes"):
            continue
        for before, after in itertools.pairwise(mask):
            here = [(r, c) for r in range(8) for c in range(8) if before[r, c]]
            there = [(r, c) for r in range(8) for c in range(8) if after[r, c]]
            if here and there:
                step = np.array(there).mean(0) - np.array(here).mean(0)
                distance = float(np.hypot(*step)) * (2 if tag in ("dog", "man") else 1)
                sums[tag] = sums.get(tag, 0.0) + distance
                areas[tag] = len(there) / 64
    alive = [tag for tag in sums if tag in ("dog", "man") and sums[tag] > 1e-9]
    group = alive or [tag for tag in sums if areas[tag] < 0.5] or list(sums)
    choice = choose(masks, CLASS, RULES)
    if not group:
        assert choice.tag is None
    else:
        assert choice.tag in group
        assert sums[choice.tag] == pytest.approx(max(sums[tag] for tag in group))
    assert {found.tag: found.moved_px for found in choice.candidates} == pytest.approx(sums)
    # Time turned round: as far and, where a priority category moved, the same choice.
    turned = choose({tag: mask[::-1] for tag, mask in masks.items()}, CLASS, RULES)
    assert {found.tag: found.moved_px for found in turned.candidates} == pytest.approx(sums)
    assert not alive or turned.tag == choice.tag
