import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corticast_training.cli import main
from corticast_training.config import Config, Sizes
from corticast_training.data.movie import Movie
from corticast_training.data.movie_write import write_clip_lines
from corticast_training.errors import TrainingError
from corticast_training.labels.classes import CLASSES
from corticast_training.targets import bpe
from corticast_training.targets.make import make_targets
from corticast_training.targets.pretrained import load
from corticast_training.targets.projection import fit_projection
from corticast_training.targets.store import Targets, read_targets
from corticast_training.targets.tensors import create
from movie_study import Study

FILES = ("train.safetensors", "test.safetensors", "names.safetensors", "projection.safetensors")


@pytest.fixture(scope="module")
def sizes(study: Study) -> Sizes:
    return Config.load(str(study.config)).sizes


@pytest.fixture(scope="module")
def targets(study: Study, sizes: Sizes) -> Targets:
    return read_targets(study.targets, sizes)


def frames_of(movie: Movie, clip: int) -> Any:
    return np.array(movie.frames("train")[clip])


def make_tiny(movie: Movie, out: Path, *more: str) -> int:
    given = ["--data", str(movie.folder), "--pretrained", "tiny", "--out", str(out)]
    return main(["targets", *given, "--preset", "tiny", "--device", "cpu", *more])


def test_a_row_says_of_its_clip_what_the_networks_and_the_data_set_say(
    study: Study, sizes: Sizes, targets: Targets
) -> None:
    movie, row = study.movie, targets.train
    tiny = load("tiny", sizes, device="cpu")
    clips = movie.clips("train")
    assert (len(row), len(targets.test)) == (36, 12)
    for k in (0, 17, 35):
        frames = frames_of(movie, k)
        tokens, latents = tiny.image_tokens(frames), tiny.vae_encode(frames)
        np.testing.assert_array_equal(row.image_tokens[k], tokens.astype(np.float16))
        np.testing.assert_array_equal(row.latents[k], latents.astype(np.float16))
        caption = clips[k].caption or ""
        np.testing.assert_array_equal(row.text_embed[k], tiny.text_embed([caption])[0])
        assert bpe.read_caption(row.caption_ids[k]) == caption
        shown = [CLASSES[number] for number in np.flatnonzero(row.labels[k])]
        assert sorted(shown) == sorted(clips[k].classes)
    keys = [None if name < 0 else targets.names[name] for name in row.key_name]
    assert keys == [clip.key_object for clip in clips]


def test_masks_are_the_pixels_at_the_centres_of_larger_ones(
    study: Study, sizes: Sizes, targets: Targets
) -> None:
    masks = study.movie.key_masks("train")
    assert masks is not None and masks.shape[-1] == 64 and sizes.mask == 8
    np.testing.assert_array_equal(targets.train.masks, masks[..., 4::8, 4::8] > 0)
    without = targets.train.key_name < 0
    assert without.any() and not targets.train.masks[without].any()


def test_names_are_the_classes_and_then_the_key_objects(sizes: Sizes, targets: Targets) -> None:
    tiny = load("tiny", sizes, device="cpu")
    assert targets.names[:51] == list(CLASSES) and len(targets.names) > 51
    states = tiny.text_states(targets.names)
    for row in (0, 10, 51):
        n = int(targets.length[row])
        assert n == bpe.n_ids(targets.names[row])
        np.testing.assert_array_equal(targets.states[row, :n], states[row])
        assert not targets.states[row, n:].any()
    np.testing.assert_array_equal(targets.pooled, tiny.text_embed(targets.names))


def test_made_again_it_is_found_and_other_sizes_are_refused(
    study: Study, sizes: Sizes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["targets", "--data", str(study.movie.folder), "--pretrained", "tiny"]
    given += ["--out", str(study.targets)]
    before = {name: (study.targets / name).stat().st_mtime_ns for name in FILES}
    assert main([*given, "--preset", str(study.config)]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert {name: (study.targets / name).stat().st_mtime_ns for name in FILES} == before
    assert main([*given, "--preset", "small"]) == 1
    assert "other networks or other sizes, expected a new folder" in capsys.readouterr().err
    with pytest.raises(TrainingError, match=r"expected float16 \[36, 6, 16, 64\] by the preset"):
        read_targets(study.targets, replace(sizes, channels=64))


KILLED = """
import os, signal, sys
from corticast_training.cli import main
from corticast_training.targets import make
make.SAVE_EVERY, inner, done = 4, make._of_clip, []
def of_clip(*given):
    done.append(1)
    if len(done) == 11:
        os.kill(os.getpid(), signal.SIGKILL)
    return inner(*given)
make._of_clip = of_clip
main(sys.argv[1:])
"""


def test_killed_and_run_again_it_goes_on_and_gives_the_same(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "targets"
    given = ["targets", "--data", str(study.movie.folder), "--pretrained", "tiny"]
    given += ["--preset", str(study.config), "--out", str(out)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *given], timeout=900, check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(TrainingError, match="no complete targets in it"):
        read_targets(out, Config.load(str(study.config)).sizes)
    assert main(given) == 0
    assert "train: 8 clips were there from an earlier run" in capsys.readouterr().out
    for name in FILES:
        assert (out / name).read_bytes() == (study.targets / name).read_bytes(), name
    assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, "targets.toml"])


def test_a_note_without_its_file_is_not_believed(
    study: Study, sizes: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = load("tiny", sizes, device="cpu")

    def stop(*given: object) -> None:
        raise KeyboardInterrupt

    def run() -> None:
        make_targets(study.movie, "data", tiny, sizes, tmp_path, fit=False)

    monkeypatch.setattr("corticast_training.targets.make._names", stop)
    with pytest.raises(KeyboardInterrupt):
        run()
    whole = (tmp_path / "train.safetensors").read_bytes()
    (tmp_path / "train.safetensors").unlink()
    monkeypatch.setattr("corticast_training.targets.make._of_clip", stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run()
    monkeypatch.undo()
    run()
    assert (tmp_path / "train.safetensors").read_bytes() == whole


def test_the_projection_is_fitted_by_least_squares() -> None:
    rng = np.random.default_rng(0)
    true = rng.standard_normal((6, 4)).astype(np.float32)
    x = rng.standard_normal((200, 6)).astype(np.float32)
    y = (x @ true + 0.01 * rng.standard_normal((200, 4))).astype(np.float32)
    plain, *_ = np.linalg.lstsq(x, y, rcond=None)
    np.testing.assert_allclose(fit_projection(x, y, ridge=0.0), plain, atol=1e-5)
    np.testing.assert_allclose(fit_projection(x, y, ridge=1e-6), true, atol=0.01)
    # As much ridge as variance halves what independent channels give.
    orthogonal = np.linalg.qr(rng.standard_normal((200, 6)))[0].astype(np.float32)
    half = fit_projection(orthogonal, orthogonal @ true, ridge=1.0)
    np.testing.assert_allclose(half, true / 2, atol=1e-5)


def test_the_tiny_sets_projection_is_fitted_to_the_training_clips(targets: Targets) -> None:
    means = targets.train.image_tokens.astype(np.float32).mean((1, 2))
    expected = fit_projection(means, targets.train.text_embed)
    np.testing.assert_allclose(targets.projection, expected, rtol=1e-5)
    assert targets.facts["projection"] == "fitted to the training clips"


def test_a_given_projection_is_taken_as_it_is(few: Movie, tmp_path: Path) -> None:
    matrix = torch.randn(32, 32)
    torch.save({"proj": matrix}, tmp_path / "coco_tokens_avg_proj.pth")
    given = str(tmp_path / "coco_tokens_avg_proj.pth")
    assert make_tiny(few, tmp_path / "a", "--projection", given) == 0
    made = read_targets(tmp_path / "a", Config.load("tiny").sizes)
    np.testing.assert_array_equal(made.projection, matrix.numpy())
    assert made.facts["projection"] == "coco_tokens_avg_proj.pth"


def test_long_captions_lose_their_end_and_are_named(
    few: Movie, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = few.clips("train")
    clips[2] = replace(clips[2], caption=" ".join(["dog"] * 70))
    clips[5] = replace(clips[5], caption=" ".join(["cat"] * 90))
    write_clip_lines(few.layout.clips("train"), clips)
    assert make_tiny(few, tmp_path / "a") == 0
    said = capsys.readouterr().out
    assert "2 of 36 train captions are longer than the 60-id row" in said
    assert "1 of 36 train captions are longer than the 77 tokens of the text tower" in said
    assert "lost their end: train-0003, train-0006" in said
    made = read_targets(tmp_path / "a", Config.load("tiny").sizes)
    for clip, word in ((2, "dog"), (5, "cat")):
        ids = made.train.caption_ids[clip]
        assert (ids[0], ids[-1]) == (bpe.START_ID, bpe.END_ID)
        assert bpe.read_caption(ids) == " ".join([word] * 58)
    assert np.isfinite(made.train.text_embed).all()


def test_classes_that_no_training_clip_shows_are_named(
    study: Study, targets: Targets, few: Movie, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = [
        replace(clip, classes=tuple(name for name in clip.classes if name != "human"))
        for clip in few.clips("train")
    ]
    assert "human" not in targets.empty_classes
    write_clip_lines(few.layout.clips("train"), clips)
    assert make_tiny(few, tmp_path / "a") == 0
    found = re.search(r"of 51 classes are in no training clip: (.*)", capsys.readouterr().out)
    assert found is not None
    assert (
        found[1].split(", ")
        == read_targets(tmp_path / "a", Config.load("tiny").sizes).empty_classes
    )
    assert "human" in found[1].split(", ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"caption": None}, "1 of 36 train clips have no caption (train-0004), expected one each"),
        ({"caption": "  "}, "1 of 36 train clips have no caption (train-0004), expected one each"),
        ({"classes": ("dragon",)}, "train-0004 has classes ['dragon'], expected names of the list"),
    ],
)
def test_clips_that_nothing_can_be_made_of_are_named(
    few: Movie,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    message: str,
) -> None:
    clips = few.clips("train")
    clips[3] = replace(clips[3], **change)
    write_clip_lines(few.layout.clips("train"), clips)
    assert make_tiny(few, tmp_path / "a") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_a_disk_too_small_says_so_before_the_work(
    study: Study, sizes: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, start: int, n_byte: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        create(tmp_path / "a.safetensors", {"a": (np.float32, (4, 4))})
