import numpy as np
import pytest

from corticast_training.evaluate.intervals import (
    Decoded,
    of_mean,
    of_share,
    permutation_control,
)


def test_interval_of_a_mean_is_students() -> None:
    # s.d. 1, s.e. 0.5; t(0.975, 3) = 3.182 in any table.
    found = of_mean([1.0, 1.0, 3.0, 3.0])
    assert found.mean == 2.0
    assert found.standard_error == pytest.approx(1 / np.sqrt(3))
    assert found.high - found.mean == pytest.approx(3.182 / np.sqrt(3), abs=1e-3)


def test_interval_of_a_share_is_exact() -> None:
    # R: binom.test(10, 12) gives 0.5158623 to 0.9791375.
    found = of_share(10, 12)
    assert (found.low, found.high) == pytest.approx((0.5158623, 0.9791375), abs=1e-6)
    assert of_share(0, 5).low == 0.0 and of_share(5, 5).high == 1.0


def test_permuted_labels_fall_to_chance() -> None:
    label = np.repeat(np.arange(4), 3)
    perfect = Decoded(np.eye(4)[label], label, label)
    control = permutation_control([perfect] * 3, 400)
    assert abs(control.per_tr - 0.25) < 0.04 and abs(control.per_block - 0.25) < 0.04
    assert control.n_as_good <= 1
