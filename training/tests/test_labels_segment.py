import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from corticast_training.cli import main
from corticast_training.data.movie import Movie, read_movie
from corticast_training.data.movie_write import write_clip_lines
from corticast_training.errors import TrainingError
from corticast_training.labels.config import LabelsConfig, Request
from corticast_training.labels.endpoint import BadAnswerError, Endpoint
from corticast_training.labels.segmenters import HttpSegmenter
from corticast_training.labels.segments import Segments, read_segments, segment, write_segments
from label_server import Handler, Server, masks_reply, pictures_of, reply, serve
from movie_results import N_TEST, make

TAGS = ("dog", "grass")
FRAMES = np.arange(3 * 6 * 10 * 3, dtype=np.uint8).reshape(3, 6, 10, 3)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("segment")).data


@pytest.fixture
def movie(labelled: Path, tmp_path: Path) -> Movie:
    shutil.copytree(labelled, tmp_path / "data")
    return read_movie(tmp_path / "data")


def parity(frames: NDArray[np.uint8], tags: Sequence[str]) -> NDArray[np.bool_]:
    """Masks that tell frames and tags apart: a bit of the red channel each."""
    return np.stack([(frames[..., 0] >> len(tag)) % 2 == 1 for tag in tags])


class Parity:
    """A segmenter without a server."""

    def __init__(self, name: str = "parity") -> None:
        self.name, self.asked = name, 0

    def masks(self, frames: NDArray[np.uint8], tags: Sequence[str]) -> NDArray[np.bool_]:
        self.asked += 1
        return parity(frames, tags)


def http(server: Server) -> HttpSegmenter:
    return HttpSegmenter(
        Endpoint(server.url, Request(2.0, 2, 0.01), frames_may_leave=False), "stand-in"
    )


def test_masks_come_back_over_http_in_the_order_of_tags_and_frames() -> None:
    def behave(handler: Handler, _: Server, __: str, body: Any) -> None:
        reply(handler, masks_reply(parity(np.stack(pictures_of(body)), body["tags"])))

    with serve(behave) as server:
        found = http(server).masks(FRAMES, TAGS)
    path, body = server.asked[0]
    assert path == "/segment"
    assert (body["format"], body["tags"]) == (1, list(TAGS))
    np.testing.assert_array_equal(np.stack(pictures_of(body)), FRAMES)
    np.testing.assert_array_equal(found, parity(FRAMES, TAGS))
    assert found.any(axis=(2, 3)).all()


def spoilt(change: Any) -> Any:
    body = masks_reply(parity(FRAMES, TAGS))
    return change(body) or body


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body: [body], "format 1"),
        (lambda body: body.update(format=2), "format 1"),
        (lambda body: body.pop("masks") and None, "masks: NoneType, expected a list of 2"),
        (lambda body: body["masks"].pop() and None, "masks: 1 entries, expected a list of 2"),
        (lambda body: body["masks"][1].pop() and None, "'grass': 2 entries, expected a list of 3"),
        (lambda body: body["masks"][0].__setitem__(0, "?"), "'dog', frame 0: not a base64 PNG"),
        (lambda body: body["masks"][0].__setitem__(0, 7), "'dog', frame 0: not a base64 PNG"),
        (lambda body: body["masks"][0].__setitem__(0, "aGVsbG8="), "frame 0: not a base64 PNG"),
        (
            lambda body: masks_reply(parity(FRAMES[:, :4], TAGS)),
            r"\(10, 4\), expected the frame's \(10, 6\)",
        ),
    ],
)
def test_a_reply_of_the_wrong_form_says_what_is_wrong(change: Any, reason: str) -> None:
    with (
        serve(lambda handler, *_: reply(handler, spoilt(change))) as server,
        pytest.raises(BadAnswerError, match=reason),
    ):
        http(server).masks(FRAMES, TAGS)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 64])
def test_masks_are_read_as_they_were_written(movie: Movie, width: int) -> None:
    rng = np.random.default_rng(width)
    masks = rng.random((1, 3, 5, width)) < 0.5
    frames = np.zeros((N_TEST, 3, 5, width, 3), np.uint8)
    save_file({"frames": frames}, movie.layout.tensors("test"))
    clip = movie.clips("test")[2]
    path = movie.folder / "labels" / "test.segments" / f"{clip.clip}.safetensors"
    path.parent.mkdir(parents=True)
    write_segments(path, Segments(clip.tags, "by hand", masks))
    np.testing.assert_array_equal(read_segments(movie, "test", clip).masks, masks)
    with pytest.raises(TrainingError, match="run `corticast-train labels segment` again"):
        read_segments(movie, "test", replace(clip, tags=("cat",)))
    save_file({"frames": frames[:, :, :4]}, movie.layout.tensors("test"))
    with pytest.raises(TrainingError, match=r"expected \[1, 3, 4"):
        read_segments(movie, "test", clip)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(TrainingError, match="not masks that"):
        read_segments(movie, "test", clip)


def test_a_second_run_makes_only_what_is_missing_or_of_other_tags(movie: Movie) -> None:
    first = Parity()
    assert segment(movie, "test", first, replace=False, parallel=3).asked == N_TEST
    folder = movie.folder / "labels" / "test.segments"
    (folder / "test-0004.safetensors").unlink()
    clips = movie.clips("test")
    clips[5] = replace(clips[5], tags=("a", "dog"))
    clips[6] = replace(clips[6], tags=())
    write_clip_lines(movie.layout.clips("test"), clips)
    changed, again = read_movie(movie.folder), Parity()
    done = segment(changed, "test", again, replace=False, parallel=1)
    assert (done.asked, done.there, again.asked) == (2, N_TEST - 3, 2)
    assert done.untagged == ["test-0006"]
    for k in (4, 5):
        np.testing.assert_array_equal(
            read_segments(changed, "test", changed.clips("test")[k]).masks,
            parity(changed.frames("test")[k], changed.clips("test")[k].tags),
        )
    with pytest.raises(TrainingError, match="another segmenter: 'parity' instead of 'other'"):
        segment(changed, "test", Parity("other"), replace=False, parallel=1)
    other = Parity("other")
    segment(changed, "test", other, replace=True, parallel=1)
    assert other.asked == N_TEST - 1


def test_clips_whose_masks_cannot_be_used_are_named(
    movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = movie.frames("test")[7].tolist()

    def behave(handler: Handler, _: Server, __: str, body: Any) -> None:
        frames = np.stack(pictures_of(body))
        masks = np.zeros((len(body["tags"]), *frames.shape[:3]), np.bool_)
        reply(handler, masks_reply(masks[:, :2] if frames.tolist() == bad else masks))

    with serve(behave) as server:
        args = ["labels", "segment", "--data", str(movie.folder), "--split", "test"]
        assert main([*args, "--endpoint", server.url]) == 1
    said = capsys.readouterr()
    assert "1 clips have no usable answer: test-0007" in said.err
    assert "nothing was found in 11 test clips" in said.out
    assert len(list((movie.folder / "labels" / "test.segments").iterdir())) == N_TEST - 1


def test_clips_without_tags_and_two_segmenters_are_errors(
    movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["labels", "segment", "--data", str(movie.folder)]
    assert main(args) == 1
    assert "one of --endpoint and --clipseg" in capsys.readouterr().err
    assert main([*args, "--clipseg", str(movie.folder)]) == 1
    assert "no config.json" in capsys.readouterr().err
    clips = [replace(clip, tags=()) for clip in movie.clips("train")]
    write_clip_lines(movie.layout.clips("train"), clips)
    assert main([*args, "--endpoint", "http://127.0.0.1:1"]) == 1
    assert "no train clip has tags, expected them" in capsys.readouterr().err


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIPSeg with random weights, small but for its vocabulary."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, ViTImageProcessor

    folder = tmp_path_factory.mktemp("clipseg")
    text = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    vision = text | {"num_hidden_layers": 3, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    config = CLIPSegConfig(
        text_config=text | {"num_hidden_layers": 2, "vocab_size": 49408},
        vision_config=vision,
        projection_dim=16,
        reduce_dim=8,
        extract_layers=[0, 1, 2],
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    CLIPSegForImageSegmentation(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_clipseg_from_a_local_folder_gives_a_mask_for_each_tag_and_frame(clipseg: Path) -> None:
    from transformers import CLIPSegForImageSegmentation, CLIPTokenizer, ViTImageProcessor

    from corticast_training.labels.clipseg import ClipSeg
    from corticast_training.targets import bpe

    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 40, 48, 3), np.uint8)
    settings = LabelsConfig.load().segment
    # The middle of what random weights say, so that masks are neither empty nor full.
    network = CLIPSegForImageSegmentation.from_pretrained(clipseg).eval()
    pixels = ViTImageProcessor.from_pretrained(clipseg)(list(frames), return_tensors="pt")
    tokenizer = bpe._hugging_face()
    assert isinstance(tokenizer, CLIPTokenizer)
    expected = []
    for tag in TAGS:
        texts = tokenizer([f"a photo of a {tag}"] * 3, padding="max_length", return_tensors="pt")
        with torch.no_grad():
            logits = network(**texts, **pixels).logits
        expected.append(
            torch.nn.functional.interpolate(logits[:, None], (40, 48), mode="bilinear")
            .sigmoid()[:, 0]
            .numpy()
        )
    probability = np.stack(expected)
    settings = replace(settings, threshold=float(np.median(probability)))
    segmenter = ClipSeg(clipseg, settings, torch.device("cpu"))
    found = segmenter.masks(frames, TAGS)
    assert found.shape == (2, 3, 40, 48)
    assert 0.3 < found.mean() < 0.7
    # Pixels at the threshold itself may fall to either side.
    clear = np.abs(probability - settings.threshold) > 1e-5
    np.testing.assert_array_equal(found[clear], (probability >= settings.threshold)[clear])
    assert (found[0] != found[1]).any()
    alone = segmenter.masks(frames[:1], TAGS)
    assert alone.shape == (2, 1, 40, 48)
    assert (alone[:, 0] != found[:, 0]).mean() < 0.01
    assert segmenter.name.startswith("clipseg ")


def test_clipseg_labels_a_data_set_from_the_command_line(movie: Movie, clipseg: Path) -> None:
    args = ["labels", "segment", "--data", str(movie.folder), "--device", "cpu"]
    assert main([*args, "--clipseg", str(clipseg)]) == 0
    for clip in movie.clips("train"):
        found = read_segments(movie, "train", clip)
        assert found.masks.shape == (1, 3, 64, 64)


def test_a_folder_of_something_else_is_refused(clipseg: Path, tmp_path: Path) -> None:
    from corticast_training.labels.clipseg import ClipSeg

    settings = LabelsConfig.load().segment

    def load(change: Any) -> None:
        folder = tmp_path / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(clipseg, folder)
        change(folder)
        ClipSeg(folder, settings, torch.device("cpu"))

    def another_type(folder: Path) -> None:
        (folder / "config.json").write_text('{"model_type": "vit"}')

    def another_vocabulary(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["text_config"]["vocab_size"] = 100
        (folder / "config.json").write_text(json.dumps(config))

    def without_a_weight(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        del weights["decoder.film_mul.weight"]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    def cut(folder: Path) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:1000])

    for change, reason in (
        (another_type, "is of type 'vit', expected 'clipseg'"),
        (another_vocabulary, "has 100 token ids"),
        (without_a_weight, "1 weights are missing, the first decoder.film_mul.weight"),
        (cut, "cannot be loaded as CLIPSeg"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights in it"),
    ):
        with pytest.raises(TrainingError, match=reason):
            load(change)
