import json
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.stats import multivariate_normal
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.model_selection import GroupKFold

from corticast_training.baseline import library as library_module
from corticast_training.baseline.answer import Baseline, write_results
from corticast_training.baseline.bold import RunWindows, flat, read_test_runs
from corticast_training.baseline.encoding import fit_encoding
from corticast_training.baseline.library import Library
from corticast_training.baseline.motion_energy import motion_energy
from corticast_training.baseline.nishimoto import NishimotoLike
from corticast_training.baseline.ridge import (
    STRENGTHS,
    Ridge,
    choose_strengths,
    folds_of,
    kernel_of,
    per_clip,
)
from corticast_training.baseline.wen import WenLike
from corticast_training.cli import main
from corticast_training.data.movie import Movie, read_movie
from corticast_training.errors import TrainingError
from corticast_training.evaluate.figures.identification import measure_identification
from corticast_training.evaluate.figures.meaning import measure_captions, measure_concepts
from corticast_training.evaluate.join import join
from corticast_training.evaluate.results import read_results
from corticast_training.evaluate.statistics import Figure, Measured, judge
from corticast_training.evaluate.truth import Truth, read_truth, sizes_of
from corticast_training.synth.dataset import Plan
from corticast_training.training.read import read_study
from synthetic import make_dataset, prepare

PLAN = Plan("tiny", 1, 60, 3, 24, 2, (10, 10, 8), 0.3, seed=5)
PRESETS = ("wen-like", "nishimoto-like")
N_RUN = 2 * 10 + 2
Windows = NDArray[np.float32]


@dataclass(frozen=True)
class Made:
    """A data set with low noise, prepared, and its targets."""

    movie: Movie
    prepared: Path
    targets: Path
    truth: Truth
    library: Library
    windows: Windows
    runs: list[RunWindows]
    folds: list[NDArray[np.bool_]]

    def fit(self, preset: str, windows: Windows | None = None) -> Baseline:
        windows = self.windows if windows is None else windows
        if preset == "wen-like":
            return WenLike.fit(windows, self.library, self.folds)
        return NishimotoLike.fit(windows, self.library, self.folds)

    def command(self, preset: str, out: Path, *more: str, prepared: Path | None = None) -> int:
        return main(
            [
                *("baseline", "--data", str(self.movie.folder), "--preset", preset),
                *("--prepared", f"01={prepared or self.prepared}"),
                *("--targets", str(self.targets), "--out", str(out), *more),
            ]
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("baseline")
    movie = read_movie(make_dataset(folder / "data", PLAN))
    prepared = prepare(movie, "01", folder / "prepared")
    targets = ["--pretrained", "tiny", "--preset", "tiny", "--device", "cpu"]
    data = ["--data", str(movie.folder), "--out", str(folder / "targets")]
    assert main(["targets", *data, *targets]) == 0
    sizes = sizes_of(folder / "targets")
    study = read_study(movie.folder, {"01": prepared}, folder / "targets", sizes)
    (own,) = study.subjects
    library = Library(own.clip, study, movie)
    truth, _ = read_truth(movie, folder / "targets", "test")
    return Made(
        movie=movie,
        prepared=prepared,
        targets=folder / "targets",
        truth=truth,
        library=library,
        windows=flat(own.windows),
        runs=read_test_runs(movie, "01", prepared, own.prepared),
        folds=folds_of(library.segments),
    )


@pytest.fixture(scope="module", params=PRESETS)
def results(
    request: pytest.FixtureRequest, made: Made, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """What the command writes for each preset."""
    out = tmp_path_factory.mktemp("results") / str(request.param)
    assert made.command(str(request.param), out) == 0
    return str(request.param), out


def files_of(folder: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def figures(made: Made, folder: Path) -> dict[str, tuple[float, float]]:
    """Figures of single repeats and of clips shuffled among one another."""
    joined = join(read_results(folder, folder / "unused"), made.movie, "test", str(folder))
    assert len(joined.single) == 10 and joined.averaged is not None and joined.n_unused == 0
    assert all(len(one.clip) == PLAN.test_clips for one in (*joined.single, joined.averaged))
    found = {}
    each = [
        measure_identification(one, made.truth)
        | measure_concepts(one, made.truth)[0]
        | measure_captions(one, made.truth)
        for one in joined.single
    ]
    for key in ("retrieval_brain_forward_top1", "concept_top1", "bleu_4"):
        parts = [one[key] for one in each]
        measured = [part for part in parts if isinstance(part, Measured)]
        assert len(measured) == len(parts)
        figure = judge(measured, 0)
        assert isinstance(figure, Figure) and figure.control is not None
        found[key] = (figure.value, figure.control)
    return found


def test_each_baseline_beats_shuffled_clips_and_itself_trained_on_shuffled_bold(
    made: Made, results: tuple[str, Path], tmp_path: Path
) -> None:
    preset, folder = results
    order = np.random.default_rng(0).permutation(len(made.library))
    write_results(tmp_path / "shuffled", made.fit(preset, made.windows[:, order]), made.runs, {})
    shuffled = figures(made, tmp_path / "shuffled")
    for key, (value, control) in figures(made, folder).items():
        assert value > 1.5 * control, key
        # A guess without any data is the most common class, which is often right.
        if key != "concept_top1":
            assert value > 1.5 * shuffled[key][0], key


def test_the_report_says_in_what_a_baseline_differs(
    made: Made, results: tuple[str, Path], tmp_path: Path
) -> None:
    preset, folder = results
    facts = tomllib.loads((folder / "baseline.toml").read_text())
    assert facts["name"] == preset
    # One test segment of averaged BOLD, so that it takes seconds.
    lines = (folder / "results.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["run"] == "sub-01_task-test01mean_run-1"]
    short = shutil.copytree(folder, tmp_path / "short")
    (short / "results.jsonl").write_text("\n".join(kept) + "\n")
    arguments = ["--data", str(made.movie.folder), "--targets", str(made.targets)]
    command = ["evaluate", "--results", str(short), "--name", preset, *arguments]
    assert main([*command, "--out", str(tmp_path / "report"), "--device", "cpu"]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["differences"] == {preset: facts["difference"]}
    mean = report["systems"][preset]["mean"]["figures"]
    for key in ("ssim_2d", "mask_iou", "retrieval_brain_forward_top5", "concept_top1", "bleu_1"):
        assert mean[key]["value"] is not None, key


def test_neurons_without_its_tasks_is_a_baseline_too(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(made.movie.folder), "--targets", str(made.targets)]
    data += ["--prepared", f"01={made.prepared}"]
    sizes = ["--set", "sizes.prior_steps=6", "--set", "brain.epochs=8"]
    brain, without = tmp_path / "brain", tmp_path / "without"
    plain = ["--accelerator", "cpu"]
    command = ["brain", *data, "--preset", "tiny", *sizes, *plain, "--out", str(brain)]
    assert main(command) == 0
    short = ["--set", "decoupler.epochs=5"]
    for out, more in (
        (without, ["--set", "decoupler.decoupled=false"]),
        (tmp_path / "with", ["--max-steps", "5"]),
    ):
        command = ["decoupler", "--brain", str(brain), *data, *short, *more, *plain]
        assert main([*command, "--out", str(out)]) == 0
    for name in ("one", "two"):
        model = ("--model", str(without), "--seed", "4")
        assert made.command("neuroclips-like", tmp_path / name, *model) == 0
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    facts = tomllib.loads((tmp_path / "one" / "baseline.toml").read_text())
    assert "without segmentation, concepts, captions" in facts["difference"]
    results = read_results(tmp_path / "one", tmp_path / "unused")
    assert results[0].tensor_names() == ["brain_tokens", "tokens"]
    mean = join(results, made.movie, "test", "one").averaged
    assert mean is not None
    figure = measure_identification(mean, made.truth)["retrieval_brain_forward_top5"]
    assert isinstance(figure, Measured)
    value = judge([figure], 0)
    assert isinstance(value, Figure) and value.control is not None
    assert value.value > 1.5 * value.control
    capsys.readouterr()
    assert made.command("neuroclips-like", tmp_path / "no", "--model", str(tmp_path / "with")) == 1
    assert "is NEURONS with its decoupled tasks" in capsys.readouterr().err


def test_the_same_data_give_the_same_bytes(
    made: Made, results: tuple[str, Path], tmp_path: Path
) -> None:
    preset, folder = results
    assert made.command(preset, tmp_path / "again", "--subject", "sub-01") == 0
    first, second = files_of(folder), files_of(tmp_path / "again")
    assert len(first) == 2 + PLAN.test_clips * 11
    assert first == second


@pytest.mark.parametrize("strength", STRENGTHS[[4, 8, 12]])
def test_weights_of_rows_are_the_ridge_of_scikit_learn(strength: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 1, (20, 40)).astype(np.float32)
    new = rng.normal(3, 1, (6, 40)).astype(np.float32)
    y = rng.normal(5, 1, (20, 3))
    kernel = kernel_of(x)
    (weights,) = Ridge(kernel, "rows").weights(kernel_of(new, x), [strength])
    alpha = strength * float(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())
    reference = SklearnRidge(alpha=alpha).fit(x.astype(np.float64), y)
    np.testing.assert_allclose(weights @ y, reference.predict(new), rtol=1e-4)
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_the_held_out_error_from_inner_products_is_that_of_predictions() -> None:
    rng = np.random.default_rng(1)
    n_repeat, n = 2, 12
    segments = np.repeat([1, 2, 3], 4)
    truth = rng.normal(2, 1, (n, 5))
    x = (np.tile(truth @ rng.normal(0, 1, (5, 9)), (n_repeat, 1))).astype(np.float32)
    x += rng.normal(0, 1, x.shape).astype(np.float32)
    kernel, folds = kernel_of(x), folds_of(segments)
    choice = choose_strengths(kernel, n_repeat, folds, {"y": truth @ truth.T})["y"]
    errors, variance = np.zeros(len(STRENGTHS)), 0.0
    for train, test in GroupKFold(3).split(segments, groups=segments):
        row, out = np.concatenate([train, train + n]), np.concatenate([test, test + n])
        y, held = np.tile(truth[train], (2, 1)), np.tile(truth[test], (2, 1))
        variance += float(((held - y.mean(axis=0)) ** 2).sum())
        centred = x[row] - x[row].mean(axis=0)
        scale = float((centred**2).sum(axis=1).mean())
        for k, strength in enumerate(STRENGTHS):
            model = SklearnRidge(alpha=strength * scale).fit(x[row].astype(np.float64), y)
            errors[k] += float(((model.predict(x[out]) - held) ** 2).sum())
    assert choice.strength == STRENGTHS[errors.argmin()]
    assert choice.explained == pytest.approx(1 - errors.min() / variance, rel=1e-4)
    assert per_clip(np.array([[1.0, 2.0, 10.0, 20.0]]), 2).tolist() == [[11.0, 22.0]]


@pytest.mark.parametrize("cycles", [4, 8, 16])
def test_a_drifting_grating_has_energy_in_its_own_direction_only(cycles: int) -> None:
    at = (np.arange(64) + 0.5) / 64
    clips = []
    for direction in (1, -1):
        phase = 2 * np.pi * (cycles * at[None] - direction * np.arange(6)[:, None] / 6)
        row = (127 + 100 * np.sin(phase)).astype(np.uint8)
        clips.append(np.broadcast_to(row[:, None, :, None], (6, 64, 64, 3)))
    flat_picture = np.full((6, 64, 64, 3), 90, dtype=np.uint8)
    found = motion_energy(np.stack([*clips, flat_picture]))
    assert found.shape == (3, 1403)
    right, left, still = found
    # Whole: 3 blobs, then places x orientations x temporal frequencies.
    gabors = [one[3:].reshape(70, 4, 5) for one in (right, left, still)]
    first = {4: 1, 8: 5, 16: 21}[cycles]
    count = {4: 4, 8: 16, 16: 49}[cycles]
    own = [one[first : first + count] for one in gabors[:2]]
    # A wave that goes to the right turns forwards, as does exp(-2πi t) of temporal frequency 1.
    strongest = [np.unravel_index(one.sum(axis=0).argmax(), (4, 5)) for one in own]
    assert [place[0] for place in strongest] == [0, 0]
    assert {int(place[1]) for place in strongest} == {1, 2}
    for one, (_, forward) in zip(own, strongest, strict=True):
        assert (one[:, 0, forward] > 3 * one[:, 0, 3 - int(forward)]).all()
    assert gabors[2].max() < 1e-4 and still[0] > 1


def test_the_posterior_is_the_gaussian_likelihood_of_a_flat_prior(made: Made) -> None:
    fitted = NishimotoLike.fit(made.windows, made.library, made.folds, 1)
    own, windows = fitted.encoding, made.runs[0].windows[:2]
    covariance = np.linalg.inv(own.whitening @ own.whitening.T)
    found = fitted.log_posterior(windows)
    likelihood = multivariate_normal(cov=covariance)
    for row, window in zip(found, windows[:, own.voxels], strict=True):
        expected = likelihood.logpdf(window - own.predicted)
        np.testing.assert_allclose(row - row[0], expected - expected[0], rtol=1e-5)
    answers = fitted.decode(windows)
    for answer, best in zip(answers, found.argmax(axis=1), strict=True):
        # An average of one clip is that clip.
        assert answer.caption == made.library.caption(int(best))
        np.testing.assert_array_equal(answer.frames, fitted.frames[best])
        np.testing.assert_array_equal(answer.concepts, made.library.labels[best])


def test_no_clip_is_predicted_from_its_own_bold(made: Made) -> None:
    energies = motion_energy(made.movie.frames("train"))
    before = fit_encoding(energies, made.windows, made.folds)
    spoilt = made.windows.copy()
    spoilt[:, made.folds[0]] = 0
    after = fit_encoding(energies, spoilt, made.folds)
    shared, one, other = np.intersect1d(before.voxels, after.voxels, return_indices=True)
    same = before.strength[one] == after.strength[other]
    assert len(shared[same]) > 10
    np.testing.assert_allclose(
        before.predicted[made.folds[0]][:, one[same]],
        after.predicted[made.folds[0]][:, other[same]],
    )


def test_tokens_in_blocks_are_tokens_at_once(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.random.default_rng(0).random((4, len(made.library)))
    whole, gram = made.library.token_sum(weights), made.library.token_gram()
    assert np.trace(gram) > 0
    monkeypatch.setattr(library_module, "BLOCK_BYTES", 7 * 4 * 16 * 32)
    np.testing.assert_allclose(made.library.token_sum(weights), whole, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(made.library.token_gram(), gram, rtol=1e-3, atol=1e-2)


Spoil = Callable[[Made, Path], None]


def with_nan(_: Made, prepared: Path) -> None:
    rewrite(prepared / "sub-01_task-test01_run-3", nan=True)


def without_a_run(_: Made, prepared: Path) -> None:
    shutil.rmtree(prepared / "sub-01_task-test02_run-7")


def without_one_mean(_: Made, prepared: Path) -> None:
    shutil.rmtree(prepared / "sub-01_task-test02mean_run-1")


def without_training(_: Made, prepared: Path) -> None:
    shutil.rmtree(prepared / "sub-01_task-train02_run-2")


def with_other_voxels(_: Made, prepared: Path) -> None:
    for folder in prepared.glob("sub-01_task-test*"):
        rewrite(folder, "cd" * 32, "ef" * 32)


def of_another_subject(_: Made, prepared: Path) -> None:
    for folder in sorted(prepared.iterdir()):
        name = folder.name.replace("sub-01", "sub-02")
        rewrite(folder, folder.name, name)
        folder.rename(prepared / name)


def without_index(_: Made, prepared: Path) -> None:
    rewrite(prepared / "sub-01_task-test01_run-1", drop="index")


def rewrite(
    folder: Path, old: str = "", new: str = "", *, nan: bool = False, drop: str = ""
) -> None:
    toml = folder / "prepared.toml"
    toml.write_text(toml.read_text().replace(old, new))
    tensors: dict[str, Any] = load_file(folder / "data.safetensors")
    tensors.pop(drop, None)
    if nan:
        tensors["windows"][4, 0, 7] = np.nan
    save_file(tensors, folder / "data.safetensors")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (with_nan, "sub-01_task-test01_run-3/data.safetensors: window 4 holds NaN"),
        (without_a_run, "1 of 20 test runs are missing, the first is sub-01_task-test02_run-7"),
        (without_one_mean, "1 of 2 test runs are missing, the first is sub-01_task-test02mean"),
        (without_training, "sub-01_task-train02_run-2"),
        (with_other_voxels, f"mask.hash is '{'ef' * 32}' in the test runs, expected '{'cd' * 32}'"),
        (of_another_subject, "none of its runs is wanted here, found sub-02"),
        (without_index, "tensor 'index' is missing, expected int64"),
    ],
)
def test_what_is_wrong_with_prepared_runs_is_named(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Spoil, message: str
) -> None:
    prepared = shutil.copytree(made.prepared, tmp_path / "prepared")
    spoil(made, prepared)
    assert made.command("wen-like", tmp_path / "out", prepared=prepared) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["prepared"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--folds", "4"], "3 training segments, expected at least 4"),
        (["--folds", "1"], "1 folds, expected 2 or more"),
        (["--subject", "02"], "--prepared names 01, expected it among them"),
        (["--prepared", "02=elsewhere"], "choose one with --subject"),
        (["--average", "3"], "with --preset nishimoto-like only"),
        (["--model", "x"], "expected with --preset neuroclips-like, and with no other"),
        (["--preset", "neuroclips-like"], "--model: expected with --preset neuroclips-like"),
    ],
)
def test_impossible_options_are_refused(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert made.command("wen-like", tmp_path / "out", *more) == 1
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_results_are_not_written_into_a_folder_with_something_in_it(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert made.command("wen-like", tmp_path) == 1
    assert "exists, expected a new folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_runs_of_averaged_bold_may_be_missing_and_that_is_said(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = shutil.copytree(made.prepared, tmp_path / "prepared")
    for folder in prepared.glob("*mean*"):
        shutil.rmtree(folder)
    assert made.command("wen-like", tmp_path / "out", prepared=prepared) == 0
    assert "no run of averaged BOLD" in capsys.readouterr().out


def test_what_cannot_be_learned_from_is_said(made: Made) -> None:
    with pytest.raises(TrainingError, match="training windows do not vary"):
        WenLike.fit(np.ones_like(made.windows), made.library, made.folds)
    with pytest.raises(TrainingError, match="1 training segments, expected at least 2"):
        folds_of(np.ones(8, dtype=np.int64))
    with pytest.raises(TrainingError, match="4 frames, expected at least 5"):
        motion_energy(np.zeros((1, 4, 64, 64, 3), dtype=np.uint8))
    with pytest.raises(TrainingError, match="48 x 64 px"):
        motion_energy(np.zeros((1, 6, 64, 48, 3), dtype=np.uint8))
    with pytest.raises(TrainingError, match="motion energies do not vary"):
        fit_encoding(np.ones((60, 5), dtype=np.float32), made.windows, made.folds)
