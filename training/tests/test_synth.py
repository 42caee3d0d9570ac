import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from corticast_training.cli import main
from corticast_training.data.layout import RunName
from corticast_training.data.movie import Movie, read_bold, read_movie
from corticast_training.data.nifti import open_image, read_map, read_volumes
from corticast_training.errors import TrainingError
from corticast_training.labels.classes import CLASSES
from corticast_training.synth.clips import draw_clip, kinds_in_turn
from corticast_training.synth.dataset import REST_VOLUMES, Plan, write_dataset
from corticast_training.synth.hrf import integral, lag_weights
from corticast_training.synth.objects import KINDS
from corticast_training.synth.scenes import SCENES
from synthetic import SMALL, make_dataset

ROOT = Path(__file__).parents[2]
DAEMON = ROOT / "target" / "release" / "corticast"
RUNTIME = ROOT / ".runtime" / "libonnxruntime.so"


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Movie:
    return read_movie(make_dataset(tmp_path_factory.mktemp("synth") / "data"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    norm = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.asarray((a * b).sum(axis=0) / np.where(norm > 0, norm, 1))


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    plan = Plan("tiny", 1, 4, 2, 2, 1, (8, 8, 6), 0.6, seed=3)
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_dataset(tmp_path / name, Plan(**{**vars(plan), "seed": seed}))
    a, b, c = (files_of(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    for name in ("clips/train.safetensors", "sub-01/func/sub-01_task-train01_run-1_bold.nii.gz"):
        assert a[name] != c[name]


def test_more_clips_do_not_change_the_ones_before() -> None:
    assert kinds_in_turn(1, 0, 40)[:20] == kinds_in_turn(1, 0, 20)
    again = [draw_clip(1, 0, 7, KINDS[2], 6, 32) for _ in range(2)]
    np.testing.assert_array_equal(again[0].frames, again[1].frames)


def test_every_class_is_one_of_the_51_and_a_good_dozen_occurs() -> None:
    used = {name for kind in KINDS for name in kind.classes}
    used |= {name for scene in SCENES.values() for name in scene.classes}
    assert used <= set(CLASSES)
    assert len(used) >= 12
    assert all(set(kind.scenes) <= set(SCENES) for kind in KINDS)


@pytest.mark.parametrize("kind", [*KINDS, None], ids=lambda kind: kind.name if kind else "none")
def test_the_mask_is_where_the_key_object_is_and_moves_as_the_caption_says(kind: object) -> None:
    for number in range(6):
        clip = draw_clip(2, 0, number, kind, 6, 64)  # type: ignore[arg-type]
        assert clip.frames.shape == (6, 64, 64, 3)
        if clip.kind is None:
            assert not clip.key_mask.any()
            assert clip.caption == clip.scene.empty
            continue
        assert clip.kind.name in clip.caption and str(clip.colour) in clip.caption
        area = clip.key_mask.sum(axis=(1, 2))
        assert (area > 30).all()
        rows, columns = np.indices((64, 64))
        x = (clip.key_mask * columns).sum(axis=(1, 2)) / area
        y = (clip.key_mask * rows).sum(axis=(1, 2)) / area
        moved = {
            "left": x[0] - x[-1],
            "right": x[-1] - x[0],
            "up": y[0] - y[-1],
            "down": y[-1] - y[0],
            "closer": area[-1] / area[0] * 8,
            "away": area[0] / area[-1] * 8,
        }[str(clip.direction)]
        assert moved > 10


def test_what_is_written_is_what_the_contract_says(movie: Movie) -> None:
    facts = movie.facts
    assert (facts.kind, facts.n_train, facts.n_test, facts.n_frame) == ("synth", 36, 12, 6)
    assert facts.repeats == {"train": 2, "test": 10}
    assert movie.frames("train").shape == (36, 6, 64, 64, 3)
    masks = movie.key_masks("test")
    assert masks is not None and masks.shape == (12, 6, 64, 64)
    for split in ("train", "test"):
        clips, masks = movie.clips(split), movie.key_masks(split)
        assert masks is not None
        for number, clip in enumerate(clips):
            assert (clip.key_object is None) == (not masks[number].any())
            assert clip.caption and clip.classes
            assert clip.key_class is None or clip.key_class in clip.classes
            assert clip.onset_s == 2.0 * (REST_VOLUMES + clip.index)
    run = RunName("01", "train", 2, 1)
    image: Any = open_image(movie.layout.bold(run))
    assert image.shape == (10, 10, 8, REST_VOLUMES + 12 + 3)
    assert image.header.get_data_dtype() == np.int16
    assert image.dataobj.slope != 1 and float(image.header.get_zooms()[3]) == 2.0
    sidecar = json.loads((movie.folder / "task-train02_bold.json").read_text())
    assert sidecar["RepetitionTime"] == 2.0


def test_the_written_mean_is_the_mean_of_the_ten_repeats(movie: Movie) -> None:
    one = [read_volumes(movie.layout.bold(RunName("01", "test", 1, k))) for k in range(1, 11)]
    mean = read_volumes(movie.layout.bold(RunName("01", "test", 1, 1, mean=True)))
    # Two roundings to int16 of values up to about 1500.
    np.testing.assert_allclose(mean, np.mean(one, axis=0), atol=0.06)


def test_informative_voxels_repeat_and_the_others_do_not(movie: Movie) -> None:
    inside = read_map(movie.layout.brain_mask("01"))[0] > 0
    area = load_file(movie.layout.truth("01"))["area"][inside]
    r = []
    for segment in (1, 2, 3):
        one, two = (
            read_volumes(movie.layout.bold(RunName("01", "train", segment, repeat)))[inside].T
            for repeat in (1, 2)
        )
        r.append(correlation(one[REST_VOLUMES + 1 :], two[REST_VOLUMES + 1 :]))
    mean = np.mean(r, axis=0)
    assert np.median(mean[area > 0]) > 0.4
    assert abs(np.median(mean[area == 0])) < 0.1
    assert {int(number) for number in np.unique(area)} == {0, 1, 2, 3, 4}
    assert 0.3 < (area > 0).mean() < 0.37


def test_the_response_is_largest_four_seconds_after_the_stimulus(movie: Movie) -> None:
    inside = read_map(movie.layout.brain_mask("01"))[0] > 0
    truth = load_file(movie.layout.truth("01"))
    answers = truth["response_test"][:, truth["area"][inside] > 0]
    delays = range(6)
    shown, r = 0, np.zeros(len(delays))
    for segment in (1, 2):
        clips = [clip for clip in movie.clips("test") if clip.segment == segment]
        run = RunName("01", "test", segment, 1, mean=True)
        series = read_volumes(movie.layout.bold(run))[inside].T[:, truth["area"][inside] > 0]
        for delay in delays:
            here = [REST_VOLUMES + clip.index + delay for clip in clips]
            kept = [k for k, row in enumerate(here) if row < len(series)]
            volumes = series[[here[k] for k in kept]]
            r[delay] += correlation(volumes, answers[shown : shown + len(clips)][kept]).mean()
        shown += len(clips)
    assert int(r.argmax()) * 2.0 == movie.facts.hrf_delay_s


def test_the_hrf_peaks_where_it_says_and_lasts_no_longer_than_its_lags() -> None:
    t = np.arange(0, 40, 0.01)
    for peak in (3.6, 4.1, 4.8):
        response = np.gradient(integral(t, np.array(peak)), t)
        assert abs(t[response.argmax()] - peak) < 0.05
        assert -0.2 * response.max() < response.min() < 0
    weights = lag_weights(np.array([4.0, 4.4]), 2.0, 2.0)
    np.testing.assert_allclose((weights**2).sum(axis=1), 1, rtol=1e-5)
    assert (weights.argmax(axis=1) == 2).all()
    assert np.abs(weights[:, -1]).max() < 0.02


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--train-clips", "2", "--train-segments", "3"], "at least one clip a segment"),
        (["--subjects", "0"], "subjects is 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--noise", "-1"], "noise is -1"),
        (["--noise", "nan"], "noise is nan"),
    ],
)
def test_impossible_plans_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(["synth", "--out", str(tmp_path / "data"), *more]) == 1
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_an_existing_folder_is_not_replaced_by_accident(tmp_path: Path) -> None:
    plan = Plan("tiny", 1, 2, 1, 1, 1, (6, 6, 6), 0.6)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    for force in (False, True):
        with pytest.raises(TrainingError, match=r"exists|no dataset\.toml"):
            write_dataset(folder, plan, force=force)
    assert (folder / "thesis.tex").read_text() == "years of work"
    (folder / "thesis.tex").unlink()
    write_dataset(folder, plan)
    with pytest.raises(TrainingError, match="--force"):
        write_dataset(folder, plan)
    write_dataset(folder, plan, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.skipif(
    not (DAEMON.is_file() and RUNTIME.is_file()), reason="the daemon is not built (make binaries)"
)
def test_the_daemon_prepares_a_data_set_without_losing_a_clip(movie: Movie, tmp_path: Path) -> None:
    runs = sorted((movie.folder / "sub-01" / "func").glob("*_bold.nii.gz"))
    named = [f"{bold},{str(bold).replace('bold.nii.gz', 'events.tsv')}" for bold in runs]
    subprocess.run(
        [
            str(DAEMON),
            "prepare",
            "--config",
            str(movie.folder / "prepare.toml"),
            "--set",
            f"signal.mask={movie.layout.brain_mask('01')}",
            *(item for run in named for item in ("--run", run)),
            "--out",
            str(tmp_path / "prepared"),
        ],
        check=True,
        capture_output=True,
        timeout=900,
        env=os.environ | {"CORTICAST_ONNXRUNTIME": str(RUNTIME)},
    )
    inside = read_map(movie.layout.brain_mask("01"))[0] > 0
    truth = load_file(movie.layout.truth("01"))
    informative = truth["area"][inside] > 0
    for split in ("train", "test"):
        bold = read_bold(movie, "01", tmp_path / "prepared", split)
        assert bold.dropped == ()
        assert bold.windows.shape[:2] == (movie.facts.repeats[split], len(movie.clips(split)))
        # The daemon's order of voxels is that of numpy: x slowest.
        r = correlation(bold.windows.mean(axis=0)[:, 0], truth[f"response_{split}"])
        assert r[informative].mean() > 0.5
        assert abs(r[~informative].mean()) < 0.1
    mean = read_bold(movie, "01", tmp_path / "prepared", "test", mean=True)
    assert mean.windows.shape[0] == 1
    shutil.rmtree(tmp_path / "prepared" / "sub-01_task-test02_run-7")
    with pytest.raises(TrainingError, match="sub-01_task-test02_run-7"):
        read_bold(movie, "01", tmp_path / "prepared", "test")


def test_facts_say_what_the_data_are_made_of(movie: Movie) -> None:
    facts = tomllib.loads(movie.layout.facts.read_text())
    assert (facts["preset"], facts["seed"], facts["noise"]) == ("tiny", SMALL.seed, SMALL.noise)
