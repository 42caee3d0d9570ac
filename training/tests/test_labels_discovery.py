import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from corticast_training.cli import main
from corticast_training.config import Config
from corticast_training.data.movie import Movie, read_movie
from corticast_training.data.movie_write import write_clip_lines
from corticast_training.data.tensor_file import TensorWriter, map_tensors
from corticast_training.labels.segments import Segments, write_segments
from corticast_training.synth.dataset import Plan
from corticast_training.synth.objects import KINDS
from corticast_training.targets.make import data_sha256, make_targets, nearest
from corticast_training.targets.pretrained import load
from corticast_training.targets.store import read_targets
from label_server import Handler, Server, answer, chat, masks_reply, pictures_of, reply, serve
from synthetic import make_dataset

PLAN = Plan("tiny", 1, 40, 2, 13, 1, (8, 8, 6), 0.6, seed=7)
SPLITS = ("train", "test")
SCENERY = {
    "grass": "plant",
    "flowers": "plant",
    "sky": "climate/atmosphere component",
    "sea": "water body",
    "waves": "water body",
    "reef": "organism",
    "seaweed": "plant",
    "bubbles": "climate/atmosphere component",
    "sand": "soil/substrate",
    "cactus": "plant",
    "dunes": "landscape feature",
    "snow": "weather phenomenon",
    "mountains": "landscape feature",
    "buildings": "building",
    "street": "roadway",
    "windows": "structure",
    "moon": "landscape feature",
    "stars": "landscape feature",
    "hills": "landscape feature",
    "window": "structure",
    "table": "furniture",
    "floor": "structure",
}
CLASS = SCENERY | {kind.name: kind.classes[0] for kind in KINDS}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Movie:
    return read_movie(make_dataset(tmp_path_factory.mktemp("truth") / "data", PLAN))


@pytest.fixture
def movie(truth: Movie, tmp_path: Path) -> Movie:
    """The same clips with nothing but their frames, as `cc2017` writes them."""
    shutil.copytree(truth.folder, tmp_path / "data")
    movie = read_movie(tmp_path / "data")
    for split in SPLITS:
        frames = np.array(movie.frames(split))
        with TensorWriter(movie.layout.tensors(split), {"frames": frames.shape}, np.uint8) as file:
            for clip in frames:
                file.append("frames", clip)
        nothing: Any = {"caption": None, "tags": (), "classes": ()}
        nothing |= {"key_object": None, "key_class": None}
        clips = [replace(clip, **nothing) for clip in movie.clips(split)]
        write_clip_lines(movie.layout.clips(split), clips)
    return read_movie(tmp_path / "data")


def segmented(movie: Movie, split: str, masks: dict[str, dict[str, NDArray[np.bool_]]]) -> None:
    """Gives the named clips tags with these masks; other clips have none."""
    clips = movie.clips(split)
    folder = movie.folder / "labels" / f"{split}.segments"
    folder.mkdir(parents=True, exist_ok=True)
    for k, clip in enumerate(clips):
        if clip.clip in masks:
            of_tag = masks[clip.clip]
            clips[k] = replace(clip, tags=tuple(of_tag))
            found = Segments(tuple(of_tag), "by hand", np.stack(list(of_tag.values())))
            write_segments(folder / f"{clip.clip}.safetensors", found)
    write_clip_lines(movie.layout.clips(split), clips)


def square(*columns: int) -> NDArray[np.bool_]:
    masks = np.zeros((6, 64, 64), np.bool_)
    for mask, column in zip(masks, columns, strict=True):
        mask[4:8, column : column + 4] = True
    return masks


def key_object(movie: Movie, *options: str) -> int:
    return main(["labels", "key-object", "--data", str(movie.folder), *options])


def test_names_classes_masks_and_reasons_are_written(
    movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    far, near = square(0, 5, 10, 15, 20, 25), square(0, 0, 0, 0, 0, 1)
    first, second, third = (clip.clip for clip in movie.clips("test")[:3])
    segmented(
        movie,
        "test",
        {first: {"Car": far, "dog": near}, second: {"sky": far, "car": near}, third: {"sky": far}},
    )
    assert key_object(movie, "--split", "test") == 0
    assert "priority 1" in (said := capsys.readouterr().out)
    assert "mammal 1, vehicle 1" in said
    after = read_movie(movie.folder)
    masks = after.key_masks("test")
    assert masks is not None
    expected = [("dog", "mammal", near), ("car", "vehicle", near), (None, None, near & False)]
    for k, (name, class_, mask) in enumerate(expected):
        assert (after.clips("test")[k].key_object, after.clips("test")[k].key_class) == (
            name,
            class_,
        )
        np.testing.assert_array_equal(masks[k], mask)
    assert not masks[3:].any()
    lines = (movie.folder / "labels" / "test.key_objects.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines[:3]] == [
        {
            "clip": first,
            "key_object": "dog",
            "rule": "priority",
            "moved_px": {"car": 25.0, "dog": 2.0},
        },
        {"clip": second, "key_object": "car", "rule": "small", "moved_px": {"car": 1.0}},
        {"clip": third, "key_object": None, "rule": "none", "moved_px": {}},
    ]


def test_other_lists_choose_another_object(movie: Movie, tmp_path: Path) -> None:
    far, near = square(0, 5, 10, 15, 20, 25), square(0, 0, 0, 0, 0, 1)
    segmented(movie, "test", {movie.clips("test")[0].clip: {"car": far, "dog": near}})
    config = tmp_path / "lists.toml"
    config.write_text('[key_object.priority]\nclasses = []\n[class_of]\ndog = "toy"\n')
    assert key_object(movie, "--split", "test", "--config", str(config)) == 0
    clip = read_movie(movie.folder).clips("test")[0]
    assert (clip.key_object, clip.key_class) == ("car", "vehicle")
    config.write_text('[key_object.background]\ntags = ["car"]\n[class_of]\ndog = "toy"\n')
    assert key_object(movie, "--split", "test", "--config", str(config)) == 0
    clip = read_movie(movie.folder).clips("test")[0]
    assert (clip.key_object, clip.key_class) == ("dog", "toy")


def test_missing_masks_tags_and_classes_are_errors_that_change_nothing(
    movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    assert key_object(movie) == 1
    assert "run `corticast-train labels describe`" in capsys.readouterr().err
    clips = movie.clips("test")
    segmented(movie, "test", {clips[0].clip: {"gizmo": square(*range(6))}})
    assert key_object(movie, "--split", "test") == 1
    assert "tag 'gizmo' has no class" in capsys.readouterr().err
    clips[1] = replace(clips[1], tags=("dog",))
    write_clip_lines(movie.layout.clips("test"), clips)
    assert key_object(movie, "--split", "test") == 1
    assert f"no masks: {clips[1].clip}; `corticast-train labels segment`" in capsys.readouterr().err
    assert not movie.layout.key_masks("test").exists()
    assert not list(movie.folder.glob("clips/.*"))


def test_the_truth_of_synth_is_replaced_only_when_asked_for(
    truth: Movie, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(truth.folder, tmp_path / "data")
    movie = read_movie(tmp_path / "data")
    assert key_object(movie) == 1
    assert "--replace" in capsys.readouterr().err
    everything = {
        clip.clip: {tag: square(*range(6)) for tag in clip.tags} for clip in movie.clips("test")
    }
    segmented(movie, "test", everything)
    # Classes come from the preset's list: nobody was asked.
    assert key_object(movie, "--split", "test", "--replace") == 0
    assert read_movie(movie.folder).key_masks("test") is not None
    assert "key_masks" in map_tensors(movie.layout.tensors("test"))


def stand_in(truth: Movie, seed: int) -> Any:
    """A model that knows the truth and a segmenter that sees it badly.

    Tags come in any order. Masks of the object lose pixels and gain wrong ones; scenery's are
    blocks whose edges jitter, and one in four frames of anything is missed.
    """
    rng = np.random.default_rng(seed)
    shown = {}
    for split in SPLITS:
        masks = truth.key_masks(split)
        assert masks is not None
        for k, clip in enumerate(truth.clips(split)):
            shown[truth.frames(split)[k].tobytes()] = clip, masks[k] > 0

    def behave(handler: Handler, _: Server, path: str, body: Any) -> None:
        clip, mask = shown[np.stack(pictures_of(body)).tobytes()]
        if path.endswith("/chat/completions"):
            tags = {str(tag): CLASS[tag] for tag in rng.permutation(clip.tags)}
            chat(handler, answer(clip.caption or "", tags))
            return
        found = np.zeros((len(body["tags"]), *mask.shape), np.bool_)
        for number, tag in enumerate(body["tags"]):
            if tag == clip.key_object:
                found[number] = mask & (rng.random(mask.shape) < 0.9)
                found[number] |= rng.random(mask.shape) < 0.002
            else:
                top, left = rng.integers(0, 40, 2)
                for frame in found[number]:
                    jitter = rng.integers(0, 2, 2)
                    frame[top + jitter[0] : top + 24, left + jitter[1] : left + 24] = True
            found[number, rng.random(len(mask)) < 0.25] = False
        reply(handler, masks_reply(found))

    return behave


def test_from_frames_alone_most_key_objects_of_synth_are_found(
    truth: Movie, movie: Movie, tmp_path: Path
) -> None:
    data = ["--data", str(movie.folder)]
    with serve(stand_in(truth, seed=1)) as server:
        v1 = f"{server.url}/v1"
        assert main(["labels", "describe", *data, "--endpoint", v1, "--model", "stand-in"]) == 0
        assert main(["labels", "segment", *data, "--endpoint", server.url]) == 0
    assert key_object(movie) == 0
    found = read_movie(movie.folder)
    right, overlap = [], []
    for split in SPLITS:
        masks, true_masks = found.key_masks(split), truth.key_masks(split)
        assert masks is not None
        assert true_masks is not None
        for k, (clip, true) in enumerate(zip(found.clips(split), truth.clips(split), strict=True)):
            assert clip.caption == true.caption
            right.append(clip.key_object == true.key_object)
            if right[-1] and clip.key_object is not None:
                seen = masks[k].any(axis=(1, 2))
                both = (masks[k][seen] & true_masks[k][seen]).sum()
                overlap.append(both / (masks[k][seen] | true_masks[k][seen]).sum())
    assert len(right) == PLAN.train_clips + PLAN.test_clips
    print(f"right {np.mean(right):.3f}, IoU {np.mean(overlap):.3f}")
    assert np.mean(right) > 0.8
    assert np.mean(overlap) > 0.7

    # And `targets` reads it.
    sizes = Config.load("tiny").sizes
    pretrained = load("tiny", sizes, device="cpu")
    files = [found.layout.key_masks(split) for split in SPLITS]
    make_targets(found, data_sha256(files), pretrained, sizes, tmp_path / "targets", fit=True)
    targets = read_targets(tmp_path / "targets", sizes)
    for k, clip in enumerate(found.clips("test")):
        name = targets.test.key_name[k]
        assert (targets.names[name] if name >= 0 else None) == clip.key_object
        masks = found.key_masks("test")
        assert masks is not None
        np.testing.assert_array_equal(targets.test.masks[k], nearest(masks[k], sizes.mask))
