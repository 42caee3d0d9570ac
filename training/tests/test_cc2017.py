"""The public data set's files, made small: movies of grey levels, runs that say their clip."""

import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from corticast_training.cli import main
from corticast_training.data.cc2017 import late_volumes, onset_s
from corticast_training.data.events import read_events
from corticast_training.data.layout import RunName
from corticast_training.data.movie import read_movie
from corticast_training.data.nifti import read_map, read_volumes, write_bold
from corticast_training.data.video import clip_frames, duration_s
from corticast_training.errors import TrainingError

SEGMENT_S, N_CLIP, FPS = 60, 30, 6
MATRIX = (4, 5, 3)
LATE_VOLUMES = 5


def write_movie(path: Path, n_frame: int, fps: int, level: Callable[[int], int]) -> None:
    """Every frame is of one grey level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        stream.bit_rate = 2_000_000
        for number in range(n_frame):
            picture = np.full((16, 32, 3), level(number), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def level(number: int) -> int:
    return 20 + 6 * (number % 36)


def answers(split: str, segment: int) -> NDArray[np.float32]:
    """What the movie does to each voxel at each TR since it began, `[TR, V]`."""
    rng = np.random.default_rng([len(split), segment])
    return rng.standard_normal((N_CLIP + 20, int(np.prod(MATRIX)))).astype(np.float32)


def write_run(path: Path, split: str, segment: int, start: int, seed: int, late: int = 0) -> None:
    """Volume k is of the TR `start + late + k`; the last voxels are dark and outside the brain."""
    n = N_CLIP + 6 - start
    rng = np.random.default_rng(seed)
    signal = answers(split, segment)[start + late : start + late + n]
    volumes = 1000 + 20 * signal + rng.standard_normal(signal.shape)
    volumes[:, -6:] = 1 + 0.01 * rng.standard_normal((n, 6))
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([3.5, 3.5, 3.5, 1])
    write_bold(path, volumes.reshape(n, *MATRIX).astype(np.float32), affine, 2.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cc2017") / "video_fmri_dataset"
    for name in ("seg1", "test1", "test2"):
        write_movie(folder / "stimuli" / f"{name}.mp4", SEGMENT_S * FPS, FPS, level)
    for subject in (1, 3):
        for split, segment, n_repeat, start in (
            ("seg", 1, 2, 1),
            ("test", 1, 10, 1),
            ("test", 2, 10, 0),
        ):
            for repeat in range(1, n_repeat + 1):
                name = f"{split}{segment}"
                run = folder / f"subject{subject}" / "fmri" / name / "mni"
                late = LATE_VOLUMES if (subject, name, repeat) == (3, "test2", 9) else 0
                path = run / f"{name}_{repeat}_mni.nii.gz"
                write_run(path, split, segment, start, 100 * subject + repeat, late)
    # One file of the public bundle is misspelt.
    run = folder / "subject1" / "fmri" / "test1" / "mni"
    (run / "test1_4_mni.nii.gz").rename(run / "test1_4.mni.nii.gz")
    return folder


def convert(source: Path, out: Path, *more: str) -> int:
    given = ["--subjects", "1,3", "--segments", "1", "--test-segments", "1-2", "--px", "24"]
    given += ["--segment-s", str(SEGMENT_S)]
    return main(["cc2017", "--source", str(source), "--out", str(out), *given, *more])


@pytest.fixture(scope="module")
def converted(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "data"
    # The folder above is found too.
    assert convert(source.parent, out) == 0
    return out


def test_frames_of_a_clip_are_every_tenth_of_its_movie(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_movie(path, 180, 30, lambda number: 20 + number)
    assert duration_s(path) == pytest.approx(6.0, abs=0.05)
    clips = list(clip_frames(path, n_clip=3, clip_s=2.0, n_frame=6, px=8))
    assert [clip.shape for clip in clips] == [(6, 8, 8, 3)] * 3
    found = np.concatenate(clips).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found, 20 + 10 * np.arange(18), atol=4)
    with pytest.raises(TrainingError, match=r"ends after 6\.00 s, expected 7\.67 s"):
        list(clip_frames(path, n_clip=4, clip_s=2.0, n_frame=6, px=8))


def test_the_data_set_is_what_the_bundle_says(converted: Path) -> None:
    movie = read_movie(converted)
    facts = movie.facts
    assert (facts.kind, facts.subjects) == ("cc2017", ("01", "03"))
    assert (facts.n_train, facts.n_test, facts.n_frame) == (N_CLIP, 2 * N_CLIP, 6)
    assert facts.repeats == {"train": 2, "test": 10}
    frames = movie.frames("test")
    assert frames.shape == (60, 6, 24, 24, 3)
    # 6 frames a second in the file, 3 in the data set.
    expected = [level(2 * number) for number in range(6 * N_CLIP)]
    found = frames[:N_CLIP].reshape(-1, 24 * 24 * 3).mean(axis=1)
    np.testing.assert_allclose(found, expected, atol=5)
    assert all(clip.caption is None for clip in movie.clips("train"))


def test_a_volume_4_s_after_its_clips_onset_answers_it(converted: Path) -> None:
    movie = read_movie(converted)
    for split, short, segment in (("train", "seg", 1), ("test", "test", 1), ("test", "test", 2)):
        for repeat in (1, 2):
            run = RunName("01", split, segment, repeat)
            names, onsets = read_events(movie.layout.events(run))
            series = read_volumes(movie.layout.bold(run)).reshape(-1, 36 - onset_start(run)).T
            clips = [clip.clip for clip in movie.clips(split) if clip.segment == segment]
            assert names == clips
            truth = answers(short, segment)
            for number in (0, 7, N_CLIP - 1):
                shown = series[round((onsets[number] + 4.0) / 2.0)]
                wanted = truth[number + 2]
                assert np.corrcoef(shown[:-6], wanted[:-6])[0, 1] > 0.99


def onset_start(run: RunName) -> int:
    """Volumes that are missing at the start of a run."""
    return round(-onset_s(run.split, run.segment, 0) / 2.0)


def test_the_mean_of_the_test_is_over_ten_repeats_without_the_late_one(converted: Path) -> None:
    movie = read_movie(converted)
    for subject, segment, used in (("01", 1, range(1, 11)), ("03", 2, [*range(1, 9), 10])):
        runs = [
            read_volumes(movie.layout.bold(RunName(subject, "test", segment, repeat)))
            for repeat in used
        ]
        mean = read_volumes(movie.layout.bold(RunName(subject, "test", segment, 1, mean=True)))
        np.testing.assert_allclose(mean, np.mean(runs, axis=0), atol=0.1)


def test_the_late_session_is_found_and_its_events_moved(
    source: Path, converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = read_movie(converted).layout
    _, onsets = read_events(layout.events(RunName("03", "test", 2, 9)))
    _, others = read_events(layout.events(RunName("03", "test", 2, 8)))
    np.testing.assert_allclose(onsets, others - 2.0 * LATE_VOLUMES)
    assert convert(source, tmp_path / "a", "--subjects", "3", "--test-segments", "2") == 0
    said = capsys.readouterr().out
    assert "sub-03_task-test02_run-9: known to be recorded late" in said
    assert "fits the other repeats best +10 s later" in said


@pytest.mark.parametrize("shift", [-8, -3, 0, 5, 8])
def test_a_shift_between_runs_is_found(shift: int) -> None:
    rng = np.random.default_rng(0)
    whole = rng.standard_normal((20, 70)).astype(np.float32)
    mean = whole[:, 10:60]
    run = whole[:, 10 + shift : 60 + shift] + rng.standard_normal((20, 50)).astype(np.float32)
    found, r, without = late_volumes(run, mean)
    assert found == shift and r > 0.5 and (shift == 0 or without < 0.2)


def test_the_brain_is_what_is_bright_and_varies(converted: Path) -> None:
    layout = read_movie(converted).layout
    mask, affine = read_map(layout.brain_mask("01"))
    assert mask.reshape(-1)[:-6].all() and not mask.reshape(-1)[-6:].any()
    np.testing.assert_array_equal(affine, np.diag([3.5, 3.5, 3.5, 1]))


def test_volumes_are_linked_not_copied(source: Path, converted: Path) -> None:
    layout = read_movie(converted).layout
    linked = layout.bold(RunName("03", "train", 1, 2))
    assert linked.samefile(source / "subject3" / "fmri" / "seg1" / "mni" / "seg1_2_mni.nii.gz")


def lose_a_run(source: Path) -> None:
    (source / "subject3" / "fmri" / "test2" / "mni" / "test2_7_mni.nii.gz").unlink()


def lose_a_movie(source: Path) -> None:
    (source / "stimuli" / "test2.mp4").unlink()


def lose_the_movies(source: Path) -> None:
    shutil.rmtree(source / "stimuli")


def shorten_a_movie(source: Path) -> None:
    write_movie(source / "stimuli" / "seg1.mp4", 40 * FPS, FPS, level)


def spoil_a_movie(source: Path) -> None:
    (source / "stimuli" / "seg1.mp4").write_bytes(b"not a movie")


def run_of(source: Path) -> Path:
    return source / "subject1" / "fmri" / "seg1" / "mni" / "seg1_2_mni.nii.gz"


def shorten_a_run(source: Path) -> None:
    write_bold(run_of(source), np.ones((30, *MATRIX), np.float32), np.eye(4), 2.0)


def reshape_a_run(source: Path) -> None:
    write_bold(run_of(source), np.ones((35, 4, 4, 3), np.float32), np.eye(4), 2.0)


def spoil_a_run(source: Path) -> None:
    run_of(source).write_bytes(b"not an image")


def still_brain(source: Path) -> None:
    path = run_of(source).with_name("seg1_1_mni.nii.gz")
    write_bold(path, np.ones((35, *MATRIX), np.float32), np.eye(4), 2.0)


@pytest.mark.parametrize(
    ("spoil", "more", "message"),
    [
        (lose_a_run, (), "1 files are missing"),
        (lose_a_movie, (), "stimuli/test2.mp4"),
        (lose_the_movies, (), "no folder `stimuli` in it"),
        (shorten_a_movie, (), "seg1.mp4: lasts 40.00 s, expected 60.00 s"),
        (spoil_a_movie, (), "cannot be read as a movie"),
        (shorten_a_run, (), "seg1_2_mni.nii.gz: 30 volumes, expected 35"),
        (reshape_a_run, (), "matrix is [4, 4, 3], the subject's first run has [4, 5, 3]"),
        (spoil_a_run, (), "not a NIfTI image"),
        (still_brain, (), "no voxel varies"),
        (lambda source: None, ("--subjects", "1-4"), "expected numbers from 1 to 3"),
        (lambda source: None, ("--segments", "one"), "expected a list such as 1-4,7"),
        (lambda source: None, ("--test-repeats", "11"), "--test-repeats is 11, expected 1 to 10"),
        (lambda source: None, ("--px", "2"), "--px has to be 8 or more"),
    ],
)
def test_missing_and_misshapen_files_leave_no_half_data_set(
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    more: tuple[str, ...],
    message: str,
) -> None:
    copy, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(source, copy)
    spoil(copy)
    assert convert(copy, out, *more) == 1
    assert message in capsys.readouterr().err
    assert not out.exists() and [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_data_set_is_replaced_by_force_and_the_linked_source_stays(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, before = tmp_path / "data", run_of(source).read_bytes()
    part = ("--subjects", "1", "--test-segments", "1", "--test-repeats", "2")
    assert convert(source, out, *part) == 0
    assert convert(source, out, *part) == 1
    assert "exists, expected a new folder" in capsys.readouterr().err
    assert convert(source, out, *part[:4], "--test-repeats", "3", "--force") == 0
    assert read_movie(out).facts.repeats["test"] == 3
    assert run_of(source).read_bytes() == before
