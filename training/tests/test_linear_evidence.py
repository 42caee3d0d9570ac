from pathlib import Path

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from conftest import MakeRun
from corticast_training.data.prepared import read_prepared
from corticast_training.labels.dataset import folds_of, label_windows
from corticast_training.model.discriminant import discriminant, ledoit_wolf
from corticast_training.model.evidence import Evidence, add_up
from corticast_training.model.linear import fit_linear
from test_linear import manifest_of, three_runs, train


@pytest.mark.parametrize("n_voxel", [5, 200])
def test_discriminant_analysis_is_that_of_scikit_learn(n_voxel: int) -> None:
    rng = np.random.default_rng(n_voxel)
    label = np.repeat([0, 1, 2], [30, 20, 10])
    windows = rng.standard_normal((60, n_voxel)) * rng.uniform(0.5, 3, n_voxel)
    windows += label[:, None] * rng.standard_normal(n_voxel)
    found = discriminant(windows, label, 3)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(windows, label)
    test = rng.standard_normal((40, n_voxel))
    np.testing.assert_allclose(
        test @ found.weights + found.bias, theirs.decision_function(test), atol=1e-8
    )


def test_shrinkage_is_that_of_scikit_learn() -> None:
    for n, n_voxel in ((50, 4), (20, 100)):
        windows = np.random.default_rng(n).standard_normal((n, n_voxel)) * np.arange(1, n_voxel + 1)
        windows -= windows.mean(axis=0)
        expected = ledoit_wolf_shrinkage(windows, assume_centered=True)
        assert ledoit_wolf(windows) == pytest.approx(expected, rel=1e-9)


def test_a_voxel_that_never_varies_has_no_weight() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 20)
    windows = rng.standard_normal((40, 6)) + label[:, None]
    windows[:, 2] = 0
    found = discriminant(windows, label, 2)
    assert np.isfinite(found.weights).all() and not found.weights[2].any()


def test_evidence_is_added_up_as_by_hand() -> None:
    # The same numbers as in models/src/evidence/tests.rs.
    evidence = Evidence(rest=2, block_s=8.0, rest_s=4.0, repetition_time_s=2.0)
    windows = np.array([[0.6, 0.2, 0.2], [0.5, 0.2, 0.3], [0.5, 0.2, 0.3], [0.5, 0.2, 0.3]])
    times, runs = np.array([0.0, 2.0, 6.0, 8.0]), np.array([0, 0, 0, 1])
    found = add_up(windows, times, runs, evidence)
    alone = [5 / 7, 2 / 7, 0]
    expected = [[0.75, 0.25, 0], [25 / 29, 4 / 29, 0], alone, alone]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    both = add_up(np.stack([windows, windows]), times, runs, evidence)
    np.testing.assert_array_equal(both, np.stack([found, found]))


@pytest.mark.parametrize("method", ["ridge", "logistic", "lda"])
def test_evidence_makes_a_decoder_better(make_run: MakeRun, tmp_path: Path, method: str) -> None:
    data = three_runs(make_run)
    assert train(data, tmp_path / "alone", "--method", method) == 0
    assert train(data, tmp_path / "added", "--method", method, "--evidence") == 0
    alone, added = manifest_of(tmp_path / "alone"), manifest_of(tmp_path / "added")
    assert "evidence" not in alone
    assert added["evidence"] == {"rest": "rest", "block_s": 10.0, "rest_s": 4.0}
    assert added["network"][0]["classes"] == ["face", "house", "shoe", "rest"]
    assert added["network"][0]["outputs"][0]["shape"] == [1, 4]
    assert added["provenance"]["cv_per_tr"] >= alone["provenance"]["cv_per_tr"] - 0.02
    assert added["provenance"]["cv_per_tr"] > 0.85


def test_evidence_needs_two_runs_and_rest(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = make_run("sub-1_run-1")
    assert train(one, tmp_path / "model", "--evidence") == 1
    assert "expected two runs or more" in capsys.readouterr().err
    events = one / "sub-1_run-1" / "events.tsv"
    events.write_text(events.read_text().replace("\t10.0\t", "\t14.0\t"))
    assert train(one, tmp_path / "model", "--evidence") == 1
    assert "rest between blocks last 0.00 s" in capsys.readouterr().err


def test_a_class_named_rest_is_no_rest(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = three_runs(make_run, classes=("rest", "task"))
    assert train(data, tmp_path / "model", "--evidence") == 1
    assert "expected another name" in capsys.readouterr().err


def test_permuted_labels_are_decoded_at_chance_with_evidence(make_run: MakeRun) -> None:
    labelled = label_windows(read_prepared(three_runs(make_run)), "trial_type", with_rest=True)
    fit = fit_linear(labelled, folds_of(labelled), "lda")
    shown = labelled.shown
    blocks, first = np.unique(labelled.block[shown], return_index=True)
    rng, right = np.random.default_rng(1), []
    for _ in range(200):
        permuted = rng.permutation(labelled.label[shown][first])
        of_window = permuted[np.searchsorted(blocks, labelled.block[shown])]
        right.append((fit.held_out[shown].argmax(axis=1) == of_window).mean())
    assert abs(np.mean(right) - 1 / 3) < 0.03
