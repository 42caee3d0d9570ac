import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from corticast_training.data.layout import RunName
from corticast_training.data.movie import Movie, join_run, read_bold, read_movie
from corticast_training.data.prepared import PreparedRun
from corticast_training.data.tensor_file import TensorWriter, map_tensors
from corticast_training.errors import TrainingError
from synthetic import make_dataset, prepare


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Movie, Path]:
    folder = tmp_path_factory.mktemp("movie")
    movie = read_movie(make_dataset(folder / "data"))
    return movie, prepare(movie, "01", folder / "prepared")


@pytest.fixture
def movie(written: tuple[Movie, Path], tmp_path: Path) -> Movie:
    """A copy that a test may spoil."""
    shutil.copytree(written[0].folder, tmp_path / "data")
    return read_movie(tmp_path / "data")


def stamped(tensors: dict[str, Any]) -> None:
    """Every window says its stimulus time in every voxel."""
    tensors["windows"][:] = tensors["stimulus_time_s"][:, None, None]


def onsets(movie: Movie, split: str, clip_index: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.array([movie.clips(split)[k].onset_s for k in clip_index])


def test_every_clip_gets_its_window_in_every_repeat(written: tuple[Movie, Path]) -> None:
    movie, prepared = written
    for split, n_repeat in (("train", 2), ("test", 10)):
        bold = read_bold(movie, "01", prepared, split)
        n_clip = len(movie.clips(split))
        assert bold.windows.shape[:3] == (n_repeat, n_clip, 1)
        assert bold.windows.dtype == np.float32
        np.testing.assert_array_equal(bold.clip_index, np.arange(n_clip))
        assert bold.dropped == ()
    assert read_bold(movie, "01", prepared, "test", mean=True).windows.shape[0] == 1
    assert read_bold(movie, "01", prepared, "test", repeats=3).windows.shape[0] == 3
    assert {RunName.parse(run.run) for run in bold.prepared.runs} == {
        RunName("01", "test", segment, k) for segment in (1, 2) for k in range(1, 11)
    }


@pytest.mark.parametrize("seed", range(6))
def test_missing_and_shuffled_windows_drop_clips_and_never_misalign(
    movie: Movie, tmp_path: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    kept: dict[str, set[float]] = {}

    def spoil(name: str) -> Callable[[dict[str, Any]], None]:
        def change(tensors: dict[str, Any]) -> None:
            stamped(tensors)
            n = len(tensors["index"])
            order = rng.permutation(n)[: rng.integers(n // 2, n + 1)]
            if seed % 2:
                order = np.sort(order)
            for key in tensors:
                tensors[key] = tensors[key][order]
            # A scanner's clock: less than half a TR off.
            tensors["stimulus_time_s"] = tensors["stimulus_time_s"] + rng.uniform(-0.4, 0.4)
            kept[name] = {float(value) for value in tensors["windows"][:, 0, 0]}

        return change

    names = [RunName("01", "train", segment, k) for segment in (1, 2, 3) for k in (1, 2)]
    prepared = prepare(movie, "01", tmp_path / "p", {str(name): spoil(str(name)) for name in names})
    bold = read_bold(movie, "01", prepared, "train")

    clips = movie.clips("train")
    expected = [
        number
        for number, clip in enumerate(clips)
        if all(clip.onset_s in kept[str(RunName("01", "train", clip.segment, k))] for k in (1, 2))
    ]
    assert bold.clip_index.tolist() == expected
    assert bold.dropped == tuple(
        clip.clip for number, clip in enumerate(clips) if number not in set(expected)
    )
    shown = onsets(movie, "train", bold.clip_index)
    for repeat in range(2):
        np.testing.assert_array_equal(bold.windows[repeat, :, 0, 0], shown)


def test_a_window_serves_one_clip_only(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "events.tsv").write_text(
        "onset\tduration\ttrial_type\tclip\n0.0\t1\tn/a\ta\n0.9\t1\tn/a\tb\n5\t1\tn/a\tn/a\n"
    )
    run = PreparedRun(
        run="sub-01_task-train01_run-1",
        folder=folder,
        windows=np.zeros((2, 1, 3), np.float32),
        stimulus_time_s=np.array([0.8, 30.0]),
    )
    clip, window = join_run(run, {"a": 0, "b": 1}, 2.0)
    assert (clip.tolist(), window.tolist()) == ([1], [0])


def test_nothing_left_is_an_error(movie: Movie, tmp_path: Path) -> None:
    def late(tensors: dict[str, Any]) -> None:
        tensors["stimulus_time_s"] += 500.0

    changes = {str(RunName("01", "train", s, 1)): late for s in (1, 2, 3)}
    prepared = prepare(movie, "01", tmp_path / "p", changes)
    with pytest.raises(TrainingError, match="no clip of train has a window in each of 2 repeats"):
        read_bold(movie, "01", prepared, "train")


def test_bad_windows_and_settings_are_named(movie: Movie, tmp_path: Path) -> None:
    def broken(tensors: dict[str, Any]) -> None:
        tensors["windows"][3, 0, 1] = np.nan

    prepared = prepare(movie, "01", tmp_path / "a", {"sub-01_task-train02_run-1": broken})
    with pytest.raises(TrainingError, match=r"train02_run-1.*window 3 holds NaN"):
        read_bold(movie, "01", prepared, "train")
    # Broken training runs do not concern the test.
    assert read_bold(movie, "01", prepared, "test").dropped == ()

    other = prepare(movie, "01", tmp_path / "b", settings={"signal": {"hrf_delay_s": 6.0}})
    with pytest.raises(TrainingError, match=r"hrf_delay_s = 6\.0, the data set says 4\.0"):
        read_bold(movie, "01", other, "train")
    shutil.rmtree(other / "sub-01_task-train01_run-2")
    with pytest.raises(TrainingError, match="no subject '07', it has 01"):
        read_bold(movie, "07", other, "train")
    with pytest.raises(TrainingError, match="expected train or test"):
        read_bold(movie, "01", other, "validation")


def test_fewer_repeats_than_needed_are_named(movie: Movie, tmp_path: Path) -> None:
    prepared = prepare(movie, "01", tmp_path / "p")
    shutil.rmtree(prepared / "sub-01_task-test01_run-10")
    with pytest.raises(TrainingError, match=r"1 of 20 runs.*test01_run-10.*10 repeats"):
        read_bold(movie, "01", prepared, "test")
    assert read_bold(movie, "01", prepared, "test", repeats=9).windows.shape[0] == 9
    with pytest.raises(TrainingError, match="repeats is 11, expected 1 to 10"):
        read_bold(movie, "01", prepared, "test", repeats=11)
    shutil.rmtree(prepared / "sub-01_task-test01mean_run-1")
    with pytest.raises(TrainingError, match="test01mean_run-1"):
        read_bold(movie, "01", prepared, "test", mean=True)
    for folder in prepared.glob("*train*"):
        shutil.rmtree(folder)
    with pytest.raises(TrainingError, match="none of its runs is wanted"):
        read_bold(movie, "01", prepared, "train")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("dataset.toml", "format = 1", "format = 2", "format is 2, expected 1"),
        ("dataset.toml", "n_train = 36", "n_train = 35", "36 clips, dataset.toml says 35"),
        ("dataset.toml", "n_frame = 6", "n_frame = 0", "n_frame is 0, expected 1 or more"),
        ("dataset.toml", "n_frame = 6", "n_frame = 5", r"expected uint8 \[36, 5, h, w, 3\]"),
        ("dataset.toml", "hrf_delay_s", "delay", "`hrf_delay_s` is missing"),
        ("dataset.toml", "format = 1", "format == 1", "not TOML"),
        ("clips/train.jsonl", '"segment": 2', '"segment": "2"', "segment is '2', expected an int"),
        ("clips/train.jsonl", "{", "(", "line 1: not JSON"),
        ("clips/train.jsonl", "train-0002", "train-0001", "a clip's name occurs twice"),
        ("clips/train.jsonl", '"classes": [', '"classes": [3, ', "expected a list of texts"),
    ],
)
def test_damaged_descriptions_are_named(
    movie: Movie, file: str, old: str, new: str, message: str
) -> None:
    path = movie.folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(TrainingError, match=message) as error:
        read_movie(movie.folder).frames("train")
    assert str(movie.folder) in str(error.value)


def test_damaged_events_are_named(movie: Movie, tmp_path: Path) -> None:
    prepared = prepare(movie, "01", tmp_path / "p")
    path = prepared / "sub-01_task-train01_run-1" / "events.tsv"
    good = path.read_text()
    for pattern, new, message in (
        ("clip", "klip", "no column 'clip'"),
        ("16.000", "soon", "events.tsv:2: onset is 'soon', expected seconds"),
        ("train-0001", "test-0001", "clip 'test-0001' is not among"),
        ("train-0001", "train-0002", "a clip is listed twice"),
    ):
        path.write_text(re.sub(pattern, new, good, count=1))
        with pytest.raises(TrainingError, match=message):
            read_bold(movie, "01", prepared, "train")


def test_missing_files_are_named(movie: Movie, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"dataset\.toml: missing"):
        read_movie(tmp_path / "nothing")
    with pytest.raises(TrainingError, match="expected a folder written by `corticast prepare`"):
        read_bold(movie, "01", tmp_path / "nothing", "train")
    movie.layout.tensors("test").unlink()
    with pytest.raises(TrainingError, match=r"test\.safetensors: missing"):
        movie.frames("test")
    movie.layout.clips("test").unlink()
    with pytest.raises(TrainingError, match=r"test\.jsonl: missing"):
        read_movie(movie.folder)


def test_tensors_are_mapped_and_cut_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "frames.safetensors"
    items = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    with TensorWriter(path, {"a": (4, 2, 3), "b": (4, 2, 3)}, np.uint8) as file:
        for item in items:
            file.append("a", item)
            file.append("b", 100 + item)
    found = map_tensors(path)
    assert isinstance(found["a"], np.memmap)
    np.testing.assert_array_equal(found["a"], items)
    np.testing.assert_array_equal(found["b"], 100 + items)
    whole = path.read_bytes()
    for n in (0, 5, 30, len(whole) - 1):
        path.write_bytes(whole[:n])
        with pytest.raises(TrainingError, match="not a safetensors file"):
            map_tensors(path)
    path.write_bytes(b"\xff" * len(whole))
    with pytest.raises(TrainingError, match="not a safetensors file"):
        map_tensors(path)


def test_an_unfinished_file_of_tensors_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "frames.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(OSError), TensorWriter(path, {"a": (2, 3)}, np.uint8) as file:
        file.append("a", np.zeros(3, np.uint8))
        raise OSError("No space left on device")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
