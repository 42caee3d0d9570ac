import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

from corticast_training.cli import main
from corticast_training.data.layout import RunName
from corticast_training.data.movie import Movie, read_movie
from corticast_training.data.nifti import open_image, read_map, read_volumes, write_bold
from corticast_training.data.reliability import (
    Reliability,
    detrended,
    most_reliable,
    reliability,
    segment_z,
    significant,
)
from corticast_training.errors import TrainingError
from corticast_training.synth.dataset import Plan
from synthetic import make_dataset

PLAN = Plan("tiny", 1, 96, 12, 4, 1, (9, 9, 7), 0.3, seed=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("voxels") / "data", PLAN)


@pytest.fixture
def movie(data: Path, tmp_path: Path) -> Movie:
    """A copy that a test may spoil."""
    shutil.copytree(data, tmp_path / "data")
    return read_movie(tmp_path / "data")


def courses(n_repeat: int = 3, n: int = 20, n_voxel: int = 5, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((1, n, n_voxel))
    return (shared + 0.8 * rng.standard_normal((n_repeat, n, n_voxel))).astype(np.float32)


def test_z_of_a_segment_is_the_mean_of_fishers_z_over_pairs_of_repeats() -> None:
    given = courses()
    expected = np.zeros(5)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        for voxel in range(5):
            r = stats.pearsonr(given[a, :, voxel], given[b, :, voxel]).statistic
            expected[voxel] += 0.5 * np.log((1 + r) / (1 - r)) / 3
    np.testing.assert_allclose(segment_z(given, order=0), expected, rtol=1e-6)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_trend_that_is_removed_leaves_what_polyfit_leaves(order: int) -> None:
    series = courses(1)[0] + np.linspace(0, 9, 20, dtype=np.float32)[:, None] ** 2
    t = np.arange(20)
    for voxel in range(5):
        fitted = np.polyval(np.polyfit(t, series[:, voxel], order), t)
        found = detrended(series, order)[:, voxel]
        np.testing.assert_allclose(found, series[:, voxel] - fitted, atol=1e-4)


def test_a_common_drift_is_no_agreement() -> None:
    rng = np.random.default_rng(1)
    drift = np.linspace(-5, 5, 40)[:, None] ** 2
    given = (drift + rng.standard_normal((2, 40, 50))).astype(np.float32)
    assert segment_z(given, order=0).mean() > 2
    assert abs(segment_z(given, order=2).mean()) < 0.1


def test_the_test_over_segments_is_scipys_and_bonferroni_counts_tested_voxels() -> None:
    rng = np.random.default_rng(2)
    z = rng.normal(0.1, 0.2, (18, 30))
    z[4, 7] = np.nan
    found = reliability(z)
    assert found.tested.sum() == 29 and not found.tested[7]
    for voxel in (0, 12, 29):
        mean, sd = z[:, voxel].mean(), z[:, voxel].std(ddof=1)
        t = mean / (sd / np.sqrt(18))
        p = 2 * stats.t.sf(abs(t), df=17)
        assert found.t[voxel] == pytest.approx(t)
        assert found.p[voxel] == pytest.approx(p)
        assert found.p_corrected[voxel] == pytest.approx(min(1.0, 29 * p))
        one_sided = reliability(z, one_sided=True)
        assert one_sided.p[voxel] == pytest.approx(stats.t.sf(t, df=17))
    uncorrected = reliability(z, correction="none")
    np.testing.assert_array_equal(uncorrected.p_corrected, uncorrected.p)
    ordered = np.sort(found.p[found.tested])
    by_hand = np.minimum.accumulate((ordered * 29 / np.arange(1, 30))[::-1])[::-1]
    fdr = reliability(z, correction="fdr").p_corrected[found.tested]
    np.testing.assert_allclose(np.sort(fdr), np.minimum(by_hand, 1))


def test_bonferroni_holds_its_promise_on_noise() -> None:
    rng = np.random.default_rng(3)
    mistaken = sum(
        bool(significant(reliability(rng.normal(0, 0.3, (18, 200))), 0.05).any())
        for _ in range(200)
    )
    # Of 200 experiments 10 are expected to err, half of those towards r > 0; 99.9 % err less.
    assert mistaken <= 14


def test_voxels_that_repeat_the_opposite_are_not_selected() -> None:
    z = np.random.default_rng(4).normal(0, 0.01, (18, 3))
    z[:, 0] += 0.5
    z[:, 1] -= 0.5
    found = reliability(z)
    assert found.p_corrected[1] < 0.001
    assert significant(found, 0.05).tolist() == [True, False, False]
    assert significant(found, 0.05, min_r=0.6).tolist() == [False, False, False]
    assert most_reliable(found, 2).tolist() == [True, False, True]


def test_repeats_that_are_equal_are_as_sure_as_can_be() -> None:
    once = courses(1, seed=5)
    z = np.stack([segment_z(np.concatenate((once, once)), 0)] * 4)
    found = reliability(z)
    assert np.isfinite(z).all() and (found.p == 0).all() and np.isinf(found.t).all()
    assert reliability(-z, one_sided=True).p.tolist() == [1.0] * 5
    assert reliability(0 * z).p.tolist() == [1.0] * 5


def test_constant_and_nan_voxels_are_left_out() -> None:
    given = courses(2)
    given[1, 3, 0] = np.nan
    given[0, :, 2] = 7.0
    z = segment_z(given, order=1)
    assert np.isnan(z).tolist() == [True, False, True, False, False]
    clean = segment_z(given[:, :, [1, 3, 4]], order=1)
    np.testing.assert_allclose(z[[1, 3, 4]], clean)


def test_what_cannot_be_tested_is_refused() -> None:
    with pytest.raises(TrainingError, match="1 repeat of a segment, expected at least 2"):
        segment_z(courses(1), 1)
    with pytest.raises(TrainingError, match="2 segments, expected at least 3"):
        reliability(np.ones((2, 4)))
    with pytest.raises(TrainingError, match="4 volumes in a segment are too few"):
        segment_z(courses(2, n=4), 2)
    with pytest.raises(TrainingError, match="all are constant or NaN"):
        reliability(np.full((4, 3), np.nan))
    with pytest.raises(TrainingError, match="correction is 'holm', expected bonferroni"):
        reliability(np.ones((4, 3)), correction="holm")
    z = np.random.default_rng(0).normal(size=(4, 3))
    with pytest.raises(TrainingError, match="4 voxels wanted, only 3 could be tested"):
        most_reliable(reliability(z), 4)


def select(movie: Movie, *more: str) -> int:
    return main(["voxels", "--data", str(movie.folder), "--subject", "01", *more])


def by_hand(movie: Movie) -> Reliability:
    """The same statistics from the files, in another way."""
    inside = read_map(movie.layout.brain_mask("01"))[0] > 0
    z = []
    for segment in range(1, 13):
        shown = [clip for clip in movie.clips("train") if clip.segment == segment]
        at = [round((clip.onset_s + 4.0) / 2.0) for clip in shown]
        runs = [read_volumes(movie.layout.bold(RunName("01", "train", segment, k))) for k in (1, 2)]
        pair = [run[inside][:, at].astype(np.float64) for run in runs]
        t = np.arange(len(at))
        flat = [[x - np.polyval(np.polyfit(t, x, 2), t) for x in one] for one in pair]
        r = [stats.pearsonr(a, b).statistic for a, b in zip(*flat, strict=True)]
        z.append(np.arctanh(r))
    return reliability(np.array(z))


def test_the_mask_holds_the_voxels_that_repeat(
    movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    assert select(movie) == 0
    said = capsys.readouterr().out
    mask, affine = read_map(movie.layout.mask("01"))
    brain, brain_affine = read_map(movie.layout.brain_mask("01"))
    np.testing.assert_array_equal(affine, brain_affine)
    image: Any = open_image(movie.layout.mask("01"))
    assert image.get_data_dtype() == np.uint8 and set(np.unique(mask)) == {0, 1}
    expected = by_hand(movie)
    np.testing.assert_array_equal(mask[brain > 0] > 0, significant(expected, 0.05))
    assert not mask[brain == 0].any()

    report = json.loads((movie.layout.subject("01") / "mask.json").read_text())
    assert report["n_selected"] == int(mask.sum()) >= 10
    assert report["truth"]["sensitivity"] > 0.3 and report["truth"]["false_positives"] <= 1
    assert "P < 0.05, bonferroni-corrected, two-sided" in said
    lines = (movie.layout.subject("01") / "mask.tsv").read_text().splitlines()
    assert len(lines) == 1 + int((brain > 0).sum())
    row = dict(zip(lines[0].split("\t"), lines[1].split("\t"), strict=True))
    first = np.argwhere(brain > 0)[0]
    assert [int(row[axis]) for axis in "xyz"] == first.tolist()
    assert float(row["p"]) == pytest.approx(expected.p[0], rel=1e-3)
    with Image.open(movie.layout.subject("01") / "mask.png") as picture:
        assert picture.format == "PNG" and picture.width > 300


def test_top_takes_as_many_as_asked_for_and_out_goes_elsewhere(
    movie: Movie, tmp_path: Path
) -> None:
    out = tmp_path / "masks" / "few.nii.gz"
    assert select(movie, "--top", "25", "--out", str(out), "--report", str(tmp_path / "r")) == 0
    assert int(read_map(out)[0].sum()) == 25
    assert (tmp_path / "r" / "few.tsv").is_file() and not movie.layout.mask("01").exists()


def of_noise(movie: Movie) -> None:
    rng = np.random.default_rng(0)
    for path in movie.layout.subject("01").glob("func/*train*_bold.nii.gz"):
        shape = open_image(path).shape
        noise = 1000 + rng.standard_normal((shape[3], *shape[:3])).astype(np.float32)
        write_bold(path, noise, np.eye(4), 2.0)


def one_repeat_lost(movie: Movie) -> None:
    movie.layout.bold(RunName("01", "train", 4, 2)).unlink()


def of_another_matrix(movie: Movie) -> None:
    path = movie.layout.bold(RunName("01", "train", 1, 1))
    write_bold(path, np.ones((14, 9, 9, 6), np.float32), np.eye(4), 2.0)


def cut(movie: Movie) -> None:
    path = movie.layout.bold(RunName("01", "train", 2, 1))
    path.write_bytes(path.read_bytes()[:2000])


def empty_brain(movie: Movie) -> None:
    path = movie.layout.brain_mask("01")
    make: Any = nibabel.Nifti1Image
    nibabel.save(make(np.zeros((9, 9, 7), np.uint8), np.eye(4)), path)


def one_repeat_said(movie: Movie) -> None:
    text = movie.layout.facts.read_text()
    movie.layout.facts.write_text(text.replace("train = 2\n", "train = 1\n"))


@pytest.mark.parametrize(
    ("spoil", "more", "message"),
    [
        (of_noise, (), "voxels survive P < 0.05, bonferroni-corrected"),
        (one_repeat_lost, (), "1 of 24 runs are missing:"),
        (one_repeat_said, (), "1 repeat of a segment, expected at least 2 to correlate"),
        (of_another_matrix, (), "matrix is [9, 9, 6], the brain mask's is [9, 9, 7]"),
        (cut, (), "damaged or cut short"),
        (empty_brain, (), "no voxel is inside"),
        (lambda movie: None, ("--subject", "09"), "no subject '09', it has 01"),
        (lambda movie: None, ("--alpha", "2"), "--alpha is 2.0, expected a probability"),
        (lambda movie: None, ("--top", "99999"), "99999 voxels wanted, only"),
        (lambda movie: None, ("--detrend", "7"), "8 volumes in a segment are too few"),
        (lambda movie: None, ("--out", "mask.txt"), "expected a name that ends in .nii.gz"),
    ],
)
def test_bad_data_and_wishes_write_no_mask(
    movie: Movie,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Movie], None],
    more: tuple[str, ...],
    message: str,
) -> None:
    spoil(movie)
    assert select(movie, *more) == 1
    assert message in capsys.readouterr().err
    assert not movie.layout.mask("01").exists()


def test_a_voxel_that_is_constant_or_nan_in_one_run_is_left_out_and_said(
    movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    path = movie.layout.bold(RunName("01", "train", 3, 2))
    image = open_image(path)
    volumes = read_volumes(path)
    at = np.argwhere(read_map(movie.layout.brain_mask("01"))[0] > 0)
    volumes[tuple(at[5])] = 1.0
    # Before the first clip: the daemon receives this volume too.
    volumes[(*at[9], 4)] = np.nan
    make: Any = nibabel.Nifti1Image
    nibabel.save(make(volumes, image.affine), path)
    assert select(movie) == 0
    assert "left out: 2 voxels that are constant or NaN in some run" in capsys.readouterr().out
    mask, _ = read_map(movie.layout.mask("01"))
    assert not mask[tuple(at[5])] and not mask[tuple(at[9])]
