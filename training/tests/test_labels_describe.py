import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corticast_training.cli import main
from corticast_training.data.movie import Clip, Movie, read_movie
from corticast_training.data.movie_write import write_clip_lines
from corticast_training.errors import TrainingError
from corticast_training.labels.answer import check_answer, message_of, read_answer
from corticast_training.labels.classes import CLASSES
from corticast_training.labels.config import LabelsConfig
from corticast_training.labels.endpoint import BadAnswerError
from corticast_training.labels.vision_language import evenly
from label_server import Handler, Server, answer, chat, pictures_of, reply, serve
from movie_results import N_TEST, N_TRAIN, make

N_CLIP = N_TRAIN + N_TEST
# No test but that of a slow request waits for a limit, so a busy machine reaches none.
FAST = "[request]\ntimeout_s = 60.0\nattempts = 2\nbackoff_s = 0.01\n"
GOOD = answer("A dog runs over grass.", {"dog": "mammal", "grass": "plant"})


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("labels")).data


@pytest.fixture
def movie(labelled: Path, tmp_path: Path) -> Movie:
    """A copy whose clips have no labels, as `cc2017` writes it."""
    shutil.copytree(labelled, tmp_path / "data")
    (tmp_path / "fast.toml").write_text(FAST)
    found = read_movie(tmp_path / "data")
    for split in ("train", "test"):
        write_clip_lines(found.layout.clips(split), map(bare, found.clips(split)))
    return read_movie(tmp_path / "data")


def bare(clip: Clip) -> Clip:
    return Clip(clip.clip, clip.segment, clip.index, clip.onset_s, None, (), (), None, None)


def describe(movie: Movie, server: Server, *options: str, model: str = "tiny-vlm") -> int:
    config = movie.folder.parent / "fast.toml"
    args = ["labels", "describe", "--data", str(movie.folder), "--config", str(config)]
    return main([*args, "--endpoint", f"{server.url}/v1", "--model", model, *options])


def lines(movie: Movie, split: str) -> list[dict[str, Any]]:
    text = (movie.folder / "labels" / f"{split}.describe.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@contextmanager
def replies(*texts: str, then: str = GOOD) -> Iterator[Server]:
    """Says `texts` one after the other, then always `then`."""

    def behave(handler: Handler, server: Server, *_: Any) -> None:
        n = len(server.asked) - 1
        chat(handler, texts[n] if n < len(texts) else then)

    with serve(behave) as server:
        yield server


def test_captions_tags_and_classes_come_into_the_clips(movie: Movie) -> None:
    with replies() as server:
        assert describe(movie, server) == 0
    after = read_movie(movie.folder)
    for split in ("train", "test"):
        assert len(lines(after, split)) == len(after.clips(split))
        for clip, before in zip(after.clips(split), movie.clips(split), strict=True):
            assert clip.caption == "A dog runs over grass."
            assert clip.tags == ("dog", "grass")
            assert clip.classes == ("plant", "mammal")
            assert (clip.clip, clip.onset_s) == (before.clip, before.onset_s)
    path, body = server.asked[0]
    assert path == "/v1/chat/completions"
    assert body["model"] == "tiny-vlm"
    assert all(name in body["messages"][1]["content"][-1]["text"] for name in CLASSES)
    np.testing.assert_array_equal(pictures_of(body), movie.frames("train")[0])


def test_a_bad_answer_is_shown_to_the_model_again_with_the_reason(movie: Movie) -> None:
    wrong = answer("A dog runs.", {"dog": "cute thing"}).replace("dog", "gizmo")
    with replies("I see a dog.", wrong) as server:
        assert describe(movie, server, "--split", "test") == 0
    assert len(server.asked) == N_TEST + 2
    second, third = server.asked[1][1]["messages"], server.asked[2][1]["messages"]
    assert second[2] == {"role": "assistant", "content": "I see a dog."}
    assert "no JSON object" in second[3]["content"]
    assert third[2]["content"] == wrong
    assert 'class of "gizmo" is "cute thing"' in third[3]["content"]


def test_clips_without_a_usable_answer_are_named_and_asked_for_again(
    movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [json.loads(json.dumps(movie.frames("test")[k].tolist())) for k in (3, 7)]

    def behave(handler: Handler, server: Server, _: str, body: Any) -> None:
        shown = [picture.tolist() for picture in pictures_of(body)]
        chat(handler, "garbage" if shown in bad and not healed else GOOD)

    healed: list[bool] = []
    with serve(behave) as server:
        assert describe(movie, server, "--split", "test") == 1
        error = capsys.readouterr().err
        assert "2 clips have no usable answer: test-0003, test-0007" in error
        assert "3 answers cannot be used" in error
        assert [clip.caption is None for clip in read_movie(movie.folder).clips("test")] == [
            k in (3, 7) for k in range(N_TEST)
        ]
        healed.append(True)
        server.asked.clear()
        assert describe(movie, server, "--split", "test") == 0
        assert len(server.asked) == 2


def test_a_run_that_was_cut_goes_on_behind_its_last_whole_line(movie: Movie) -> None:
    with replies() as server:
        assert describe(movie, server, "--split", "test") == 0
        whole = (movie.folder / "labels" / "test.describe.jsonl").read_bytes()
        for cut in (0, 1, len(whole) // 2, len(whole) - 1):
            server.asked.clear()
            (movie.folder / "labels" / "test.describe.jsonl").write_bytes(whole[:cut])
            write_clip_lines(movie.layout.clips("test"), movie.clips("test"))
            assert describe(movie, server, "--split", "test") == 0
            assert len(server.asked) == N_TEST - whole[:cut].count(b"\n")
            found = lines(movie, "test")
            assert sorted(line["clip"] for line in found) == [
                clip.clip for clip in movie.clips("test")
            ]


def test_an_endpoint_that_is_gone_stops_the_run_and_keeps_what_is_done(
    movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    def behave(handler: Handler, server: Server, *_: Any) -> None:
        if len(server.asked) <= 4:
            chat(handler, GOOD)
        else:
            reply(handler, "crashed", 500)

    with serve(behave) as server:
        assert describe(movie, server) == 1
        assert "3 clips in a row got no answer" in (said := capsys.readouterr().err)
        assert "500: crashed" in said
        assert len(server.asked) == 4 + 3 * 2
    captions = [clip.caption is not None for clip in read_movie(movie.folder).clips("train")]
    assert captions == [k < 4 for k in range(N_TRAIN)]


def test_a_refused_model_name_stops_at_the_first_clip(
    movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(lambda handler, *_: reply(handler, "no model tiny-vlm", 404)) as server:
        assert describe(movie, server) == 1
    assert "404: no model tiny-vlm" in capsys.readouterr().err
    assert len(server.asked) == 1


def test_one_slow_and_one_dropped_request_cost_nothing(movie: Movie) -> None:
    def behave(handler: Handler, server: Server, *_: Any) -> None:
        n = len(server.asked)
        if n == 2:
            server.stopped.wait()
        elif n == 4:
            handler.close_connection = True
        elif n == 6:
            reply(handler, "busy", 500)
        else:
            chat(handler, GOOD)

    # On a busy machine another request may be slow, too: there are attempts enough for that.
    patient = FAST.replace("60.0", "1.0").replace("attempts = 2", "attempts = 10")
    (movie.folder.parent / "fast.toml").write_text(patient)
    with serve(behave) as server:
        assert describe(movie, server, "--split", "test") == 0
        assert len(server.asked) >= N_TEST + 3
    assert all(clip.caption is not None for clip in read_movie(movie.folder).clips("test"))


def test_captions_that_were_there_stay_unless_replaced(
    labelled: Path, movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    own = read_movie(labelled)
    write_clip_lines(movie.layout.clips("test"), own.clips("test"))
    with replies() as server:
        assert describe(movie, server, "--split", "test") == 0
        assert server.asked == []
        assert read_movie(movie.folder).clips("test") == own.clips("test")
        assert f"{N_TEST} clips keep the caption" in capsys.readouterr().out
        assert describe(movie, server, "--split", "test", "--replace") == 0
        assert len(server.asked) == N_TEST
    after = read_movie(movie.folder).clips("test")
    assert {clip.caption for clip in after} == {"A dog runs over grass."}
    # Chosen among other tags.
    assert {clip.key_object for clip in after} == {None}


def test_answers_of_another_model_or_prompt_do_not_mix(
    movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    with replies() as server:
        assert describe(movie, server, "--split", "test") == 0
        assert describe(movie, server, "--split", "test", model="other") == 1
        assert "'tiny-vlm'" in capsys.readouterr().err
        (movie.folder.parent / "fast.toml").write_text(FAST + "[describe]\nframes = 2\n")
        assert describe(movie, server, "--split", "test") == 1
        assert "prompts" in capsys.readouterr().err
        server.asked.clear()
        assert describe(movie, server, "--split", "test", "--replace") == 0
        assert len(server.asked) == N_TEST
        assert len(pictures_of(server.asked[0][1])) == 2


def test_several_clips_at_once_give_the_same_lines(movie: Movie) -> None:
    def behave(handler: Handler, _: Server, __: str, body: Any) -> None:
        shade = int(pictures_of(body)[0].mean())
        chat(handler, answer(f"A ball of shade {shade}.", {"ball": "toy"}))

    with serve(behave) as server:
        assert describe(movie, server, "--parallel", "4") == 0
        assert len(server.asked) == N_CLIP
    for split in ("train", "test"):
        for clip, frames in zip(
            read_movie(movie.folder).clips(split), movie.frames(split), strict=True
        ):
            assert clip.caption == f"A ball of shade {int(frames[0].mean())}."


def test_long_captions_and_empty_classes_are_said(
    movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    with replies(then=answer("dog " * 80, {"dog": "mammal"})) as server:
        assert describe(movie, server) == 0
    said = capsys.readouterr().out
    assert f"{N_TEST} test captions are longer than the 77 tokens" in said
    assert "50 of 51 classes are in no training clip: animal, human" in said


def test_missing_files_and_options_are_errors(
    movie: Movie, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["labels", "describe", "--data", str(movie.folder), "--model", "m"]
    for args, said in (
        ([*base, "--endpoint", "http://10.0.0.1/v1"], "--frames-may-leave"),
        ([*base, "--endpoint", "http://localhost:1/v1", "--config", "no.toml"], "no.toml: missing"),
        (
            [*base, "--endpoint", "http://localhost:1/v1", "--key-env", "NO_KEY"],
            "NO_KEY is not set",
        ),
        ([*base, "--endpoint", "http://localhost:1/v1", "--parallel", "0"], "--parallel is 0"),
    ):
        assert main(args) == 1
        assert said in capsys.readouterr().err
    movie.layout.tensors("train").unlink()
    with replies() as server:
        assert describe(movie, server) == 1
    assert "train.safetensors: missing" in capsys.readouterr().err
    (movie.folder / "labels").mkdir(exist_ok=True)
    (movie.folder / "labels" / "test.describe.jsonl").write_text('{"clip": "test-0000"}\n')
    with replies() as server:
        assert describe(movie, server, "--split", "test") == 1
    assert 'line 1: "caption" is missing' in capsys.readouterr().err


GOOD_TAG = '{"tag": "Dog", "class": "Mammal"}'


@pytest.mark.parametrize(
    "text",
    [
        f'{{"caption": "A  dog\\nruns.", "tags": [{GOOD_TAG}]}}',
        f'Sure!\n```json\n{{"caption": "A dog runs.", "tags": [{GOOD_TAG}]}}\n```\nAnything else?',
        f'<think>{{"caption": "no"}}</think>{{"caption": "A dog runs.", "tags": [{GOOD_TAG}]}}',
        f'{{"note": 1}} {{"tags": [{GOOD_TAG}, {GOOD_TAG}], "caption": "A dog runs.", "x": null}}',
    ],
)
def test_an_answer_is_found_in_what_models_wrap_around_it(text: str) -> None:
    found = read_answer(text, {}, 3)
    assert found.caption == "A dog runs."
    assert found.tags == {"dog": "mammal"}


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"tags": []}, '"caption"'),
        ({"caption": " ", "tags": ["dog"]}, '"caption"'),
        ({"caption": 3, "tags": ["dog"]}, '"caption"'),
        ({"caption": "A dog.", "tags": []}, '"tags"'),
        ({"caption": "A dog.", "tags": "dog"}, '"tags"'),
        ({"caption": "A dog.", "tags": ["dog"]}, 'tag "dog"'),
        ({"caption": "A dog.", "tags": [{"tag": "", "class": "mammal"}]}, "is not an object"),
        ({"caption": "A dog.", "tags": [{"tag": "dog", "class": ""}]}, 'class of "dog" is ""'),
        ({"caption": "A dog.", "tags": [{"tag": "dog"}]}, "is null"),
        ({"caption": "A dog.", "tags": [{"tag": "dog", "class": ["mammal"]}]}, "not one of"),
        ({"caption": "A dog.", "tags": [{"tag": "dog", "class": "mammal"}] * 4}, "at most 3"),
    ],
)
def test_an_answer_of_the_wrong_form_says_what_is_wrong(table: Any, reason: str) -> None:
    with pytest.raises(BadAnswerError, match=reason.replace("[", r"\[")):
        check_answer(table, {}, 3)


def test_the_class_of_a_listed_tag_is_the_list_s() -> None:
    table = {"caption": "A man.", "tags": [{"tag": "Man", "class": "mammal"}]}
    assert check_answer(table, LabelsConfig.load().class_of, 3).tags == {"man": "human"}


@pytest.mark.parametrize(
    "reply_",
    [
        None,
        [],
        {},
        {"choices": []},
        {"choices": 3},
        {"choices": [{"message": {"content": None}}]},
        {"choices": [{"message": {"content": "{}"}, "finish_reason": "length"}]},
    ],
)
def test_a_reply_without_a_whole_message_is_refused(reply_: Any) -> None:
    with pytest.raises(BadAnswerError):
        message_of(reply_)


def test_frames_are_taken_evenly() -> None:
    assert evenly(6, 6).tolist() == [0, 1, 2, 3, 4, 5]
    assert evenly(6, 3).tolist() == [1, 3, 5]
    assert evenly(6, 1).tolist() == [3]
    assert evenly(2, 6).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[describe]\nprompt = 'x'", "`prompt` is unknown"),
        ("describe = 3", "describe is 3"),
        ("[describe]\nuser = '{\"tag\": 1}'", "brace"),
        ("[describe]\nresponse_format = 'xml'", "response_format is 'xml'"),
        ("[describe]\nframes = 0", "frames is 0"),
        ("[class_of]\ndog = 'dogs'", "class_of.dog is 'dogs'"),
        ("[key_object.background]\nclasses = ['skies']", "'skies'"),
        ("[key_object]\nmax_area = -1.0", "max_area is -1.0"),
        ("[segment]\nprompt = 'thing'", "expected {tag} in it"),
        ("version = ", "not TOML"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "labels.toml"
    path.write_text(text)
    with pytest.raises(TrainingError, match=reason):
        LabelsConfig.load(path)


def test_a_config_changes_single_keys_and_adds_classes(tmp_path: Path) -> None:
    path = tmp_path / "labels.toml"
    path.write_text('[key_object.priority]\ntags = ["Toy  Robot"]\n[class_of]\nROBOT = "toy"\n')
    config, preset = LabelsConfig.load(path), LabelsConfig.load()
    assert config.key_object.priority.hold("toy robot", "toy")
    assert config.key_object.priority.classes == preset.key_object.priority.classes
    assert config.class_of == preset.class_of | {"robot": "toy"}
    assert config.prompts == preset.prompts
    path.write_text("[describe]\nmax_tags = 3\n")
    assert LabelsConfig.load(path).prompts != preset.prompts
