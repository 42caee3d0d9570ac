import numpy as np
import pytest

from corticast_training.errors import TrainingError
from corticast_training.training.batches import Batches
from corticast_training.training.draws import generator
from corticast_training.training.split import held_out


def batches(n_subject: int = 2, *, size: int = 8, n_part: int = 1, n_clip: int = 30) -> Batches:
    clips = [np.arange(n_clip) for _ in range(n_subject)]
    return Batches(clips, size=size, n_part=n_part, seed=3, stage="brain")


def test_a_draw_depends_on_its_key_alone() -> None:
    first = generator(1, "brain", 2, 3, "mix").random(4)
    generator(1, "brain", 2, 4, "mix").random(100)
    np.testing.assert_array_equal(generator(1, "brain", 2, 3, "mix").random(4), first)
    for other in ((2, "brain", 2, 3, "mix"), (1, "brain", 3, 2, "mix"), (1, "brain", 2, 3, "x")):
        assert (generator(other[0], *other[1:]).random(4) != first).all()


def test_an_epoch_uses_each_clip_of_a_subject_at_most_once() -> None:
    plan = batches()
    epoch = [plan.batch(0, index) for index in range(plan.per_epoch)]
    for subject in range(2):
        rows = np.concatenate([batch.rows[subject] for batch in epoch])
        assert len(rows) == 28 == len(np.unique(rows))


def test_epochs_are_ordered_differently() -> None:
    plan = batches()
    assert (plan.batch(0, 0).clip != plan.batch(1, 0).clip).any()


def test_subjects_of_one_batch_saw_different_clips() -> None:
    plan = batches(3, size=12)
    for index in range(plan.per_epoch):
        clip = plan.batch(4, index).clip
        assert len(np.unique(clip)) == len(clip)


def test_the_parts_of_a_batch_are_all_of_it_with_as_many_of_each_subject() -> None:
    plan = batches(2, size=8, n_part=4)
    parts = [plan.part(index) for index in range(4)]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(8))
    for part in parts:
        assert (part < 4).sum() == 1


def test_clips_that_are_held_out_or_missing_never_come() -> None:
    clip = np.array([-1, 4, 0, -1, 2, 1, 3])
    plan = Batches([clip], size=5, n_part=1, seed=0, stage="brain")
    assert sorted(plan.batch(0, 0).rows[0]) == [1, 2, 4, 5, 6]


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(TrainingError, match="only 30 clips"):
        batches(1, size=31)


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(TrainingError, match="expected a multiple of 6"):
        batches(2, size=8, n_part=3)


def test_one_stretch_of_each_segment_is_held_out() -> None:
    segments = [1] * 20 + [2] * 30
    chosen = held_out(segments, 0.1, seed=0)
    for part, n in ((chosen[:20], 2), (chosen[20:], 3)):
        assert part.sum() == n
        assert np.ptp(np.flatnonzero(part)) == n - 1
    np.testing.assert_array_equal(held_out(segments, 0.1, seed=0), chosen)


def test_nothing_is_held_out_at_zero() -> None:
    assert not held_out([1] * 10, 0.0, seed=0).any()
