import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nltk.tag.perceptron import PerceptronTagger
from safetensors.numpy import load_file, save_file
from transformers import (
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VideoMAEImageProcessor,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

import movie_results
from corticast_training.cli import main
from corticast_training.evaluate.figures.catalog import CATALOG
from corticast_training.evaluate.published import CONCEPTS, SYSTEMS
from corticast_training.labels.classes import CLASSES
from movie_results import SIZES, Fixture, write_perfect

TAGGER = "averaged_perceptron_tagger_eng"


@pytest.fixture(scope="module")
def fixture(tmp_path_factory: pytest.TempPathFactory) -> Fixture:
    return movie_results.make(tmp_path_factory.mktemp("evaluate"))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Stand-ins of every network, as the options that name them."""
    folder = tmp_path_factory.mktemp("networks")
    small: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "image_size": 32,
        "patch_size": 16,
        "num_labels": 60,
    }
    ViTForImageClassification(ViTConfig(**small)).save_pretrained(folder / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder / "vit")
    config = VideoMAEConfig(**small, num_frames=4, tubelet_size=2)
    VideoMAEForVideoClassification(config).save_pretrained(folder / "videomae")
    processor = VideoMAEImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    processor.save_pretrained(folder / "videomae")
    write_tagger(folder / "nltk_data" / "taggers" / TAGGER)
    words = {
        "runs": [1.0, 0.0, 0.0],
        "waits": [0.0, 1.0, 0.0],
        "turns": [0.0, 0.0, 1.0],
        "jumps": [0.95, 0.05, 0.1],
    }
    lines = [" ".join([word, *map(str, vector)]) for word, vector in words.items()]
    (folder / "vectors.txt").write_text("\n".join(lines) + "\n")
    return [
        *("--image-classifier", str(folder / "vit")),
        *("--video-classifier", str(folder / "videomae")),
        *("--nltk", str(folder / "nltk_data")),
        *("--word-vectors", str(folder / "vectors.txt")),
    ]


def write_tagger(folder: Path) -> None:
    """A tagger of three kinds of words, in the files of NLTK's."""
    folder.mkdir(parents=True)
    tagger = PerceptronTagger(load=False)
    tagged = [
        [("a", "DT"), (thing, "NN"), (verb, "VBZ"), ("past", "IN"), ("corner", "NN")]
        for thing in movie_results.THINGS.values()
        for verb in movie_results.VERBS
    ]
    tagger.train(tagged * 3)
    parts = {
        "weights": tagger.model.weights,
        "tagdict": tagger.tagdict,
        "classes": sorted(tagger.classes),
    }
    for name, part in parts.items():
        (folder / f"{TAGGER}.{name}.json").write_text(json.dumps(part))


def evaluate(fixture: Fixture, results: Path, out: Path, *more: str) -> int:
    return main(
        [
            *("evaluate", "--results", str(results), "--data", str(fixture.data)),
            *("--targets", str(fixture.targets_dir), "--out", str(out), *more),
        ]
    )


def report_of(out: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


def test_perfect_results_get_full_marks(
    fixture: Fixture, networks: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = write_perfect(fixture, tmp_path / "results")
    assert evaluate(fixture, results, tmp_path / "report", *networks) == 0
    report = report_of(tmp_path / "report")
    assert set(report["systems"]["this model"]) == {"single", "mean"}
    for kind, n_repeat in (("single", 2), ("mean", 1)):
        figures = report["systems"]["this model"][kind]["figures"]
        assert set(figures) == set(CATALOG)
        for key in (
            *(key for key in CATALOG if key.startswith("retrieval")),
            *("concept_top1", "concept_found", "mask_iou", "bleu_1", "bleu_4", "verb_accuracy"),
        ):
            assert figures[key]["value"] == pytest.approx(1.0), key
            assert figures[key]["n_repeat"] == n_repeat
            assert figures[key]["interval"] == pytest.approx([1.0, 1.0])
        for key in ("retrieval_brain_forward_top1", "concept_top1", "mask_iou", "bleu_4"):
            assert figures[key]["control"] < 0.6, key
            assert figures[key]["p_value"] < 0.05
        assert figures["cider_d"]["value"] == pytest.approx(10.0)
        assert figures["concept_false_alarm"]["value"] == 0
        assert figures["retrieval_brain_forward_top1"]["chance"] == pytest.approx(1 / 12)
        assert figures["concept_top1"]["chance"] == pytest.approx(1 / 51)
        # What a classifier sees in a blurry copy of the truth is not certain, but is a figure.
        for key in ("frame_2way", "frame_50way_sampled", "video_2way", "ssim_2d", "clip_pcc"):
            assert 0 <= figures[key]["value"] <= 1, key
        assert abs(figures["frame_2way"]["value"] - figures["frame_2way_sampled"]["value"]) < 0.1
        per_class = report["systems"]["this model"][kind]["per_class"]
        assert per_class["vehicle"] == {"found": 1.0, "false_alarm": 0.0, "n_clip": 4}
        assert per_class["weapon"]["found"] is None
    out = capsys.readouterr().out
    assert "top-1 of 50" in out and "permuted" in out
    assert all(name in out for name in SYSTEMS) and "11.432" in out
    assert max(map(len, out.splitlines()[:-1])) <= 80
    html = (tmp_path / "report" / "report.html").read_text()
    assert html.count(">not above permuted<") + html.count(">above permuted<") == 12
    assert html.count(">above permuted<") >= 8


def test_shuffled_results_are_at_the_level_of_their_control(
    fixture: Fixture, tmp_path: Path
) -> None:
    results = write_perfect(fixture, tmp_path / "results", shift=1)
    assert evaluate(fixture, results, tmp_path / "report") == 0
    figures = report_of(tmp_path / "report")["systems"]["this model"]["mean"]["figures"]
    for key in ("retrieval_brain_forward_top1", "retrieval_prior_backward_top1", "concept_top1"):
        assert figures[key]["value"] <= figures[key]["control"] + 0.05, key
        assert figures[key]["p_value"] > 0.05
    for key in ("bleu_4", "mask_iou"):
        assert figures[key]["value"] < 0.1


def test_what_has_no_network_is_not_computed_and_says_why(
    fixture: Fixture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = write_perfect(fixture, tmp_path / "results", latents=None, mask=None)
    assert evaluate(fixture, results, tmp_path / "report") == 0
    figures = report_of(tmp_path / "report")["systems"]["this model"]["single"]["figures"]
    for key, reason in {
        "verb_accuracy": "--nltk",
        "ssim_neurons": "latents",
        "frame_2way": "latents",
        "mask_iou": "mask",
    }.items():
        assert figures[key]["value"] is None and reason in figures[key]["reason"]
    assert "not computed" in capsys.readouterr().out
    assert "not computed" in (tmp_path / "report" / "report.html").read_text()


def test_each_missing_classifier_is_named(fixture: Fixture, tmp_path: Path) -> None:
    results = write_perfect(fixture, tmp_path / "results")
    assert evaluate(fixture, results, tmp_path / "report") == 0
    figures = report_of(tmp_path / "report")["systems"]["this model"]["mean"]["figures"]
    assert "--image-classifier" in figures["frame_2way"]["reason"]
    assert "--video-classifier" in figures["video_50way"]["reason"]
    assert figures["ssim_neurons"]["value"] > figures["ssim_neurons"]["control"]
    assert figures["psnr_db"]["value"] > figures["psnr_db"]["control"]


def test_frames_in_the_results_need_no_vae(fixture: Fixture, tmp_path: Path) -> None:
    frames = np.asarray(fixture.movie.frames("test")[0])
    results = write_perfect(fixture, tmp_path / "results", latents=None, frames=frames)
    assert evaluate(fixture, results, tmp_path / "report") == 0
    figures = report_of(tmp_path / "report")["systems"]["this model"]["mean"]["figures"]
    assert figures["ssim_2d"]["n_clip"] == 12
    # One of twelve is its own clip: an infinite PSNR has no place in a mean.
    assert np.isfinite(figures["psnr_db"]["value"])


def test_the_mean_may_be_in_a_folder_of_its_own(fixture: Fixture, tmp_path: Path) -> None:
    whole = write_perfect(fixture, tmp_path / "whole")
    lines = (whole / "results.jsonl").read_text().splitlines()
    for name, mean in (("single", False), ("mean", True)):
        (tmp_path / name).mkdir()
        kept = [line for line in lines if ("mean" in json.loads(line)["run"]) == mean]
        (tmp_path / name / "results.jsonl").write_text("\n".join(kept) + "\n")
        shutil.copytree(whole / "conditions", tmp_path / name / "conditions")
    out = tmp_path / "report"
    assert evaluate(fixture, tmp_path / "single", out, "--mean", str(tmp_path / "mean")) == 0
    kinds = report_of(out)["systems"]["this model"]
    assert kinds["single"]["repeats"] == ["run 1", "run 2"]
    assert kinds["mean"]["figures"]["concept_top1"]["value"] == 1
    assert evaluate(fixture, tmp_path / "single", out) == 0
    assert "no results" in report_of(out)["systems"]["this model"]["mean"]["reason"]
    assert evaluate(fixture, whole, out, "--mean", str(tmp_path / "single")) == 1


def test_runs_may_be_in_several_folders(fixture: Fixture, tmp_path: Path) -> None:
    whole = write_perfect(fixture, tmp_path / "whole")
    runs = sorted((whole / "conditions").iterdir())
    lines = (whole / "results.jsonl").read_text().splitlines()
    for run in runs:
        part = tmp_path / run.name
        shutil.copytree(run, part / "conditions" / run.name)
        own = [line for line in lines if json.loads(line)["run"] == run.name]
        (part / "results.jsonl").write_text("\n".join(own) + "\n")
    first, *others = [str(tmp_path / run.name) for run in runs]
    assert evaluate(fixture, Path(first), tmp_path / "a", "--results", first, *others) == 0
    assert evaluate(fixture, whole, tmp_path / "b") == 0
    assert report_of(tmp_path / "a") == report_of(tmp_path / "b")


def test_systems_stand_beside_each_other(fixture: Fixture, tmp_path: Path) -> None:
    right = write_perfect(fixture, tmp_path / "right")
    wrong = write_perfect(fixture, tmp_path / "wrong", shift=5)
    (wrong / "baseline.toml").write_text('difference = "always five clips late"\n')
    out = tmp_path / "report"
    assert evaluate(fixture, right, out, "--compare", f"late={wrong}") == 0
    report = report_of(out)
    value = {
        name: kinds["mean"]["figures"]["bleu_4"]["value"]
        for name, kinds in report["systems"].items()
    }
    assert value["this model"] == pytest.approx(1.0) and value["late"] < 0.1
    assert report["differences"] == {"late": "always five clips late"}
    html = (out / "report.html").read_text()
    assert "always five clips late" in html
    assert evaluate(fixture, right, out, "--compare", f"this model={wrong}") == 1


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "srcset", "href")]


def test_the_report_needs_nothing_but_itself(fixture: Fixture, tmp_path: Path) -> None:
    results = write_perfect(fixture, tmp_path / "results", caption_ids=None)
    path = results / "results.jsonl"
    lines = path.read_text().replace("a dog", "<script>alert(1)</script> dog")
    path.write_text(lines)
    assert evaluate(fixture, results, tmp_path / "report") == 0
    html = (tmp_path / "report" / "report.html").read_text()
    page = Page()
    page.feed(html)
    assert page.addresses and all(one.startswith("data:image/webp") for one in page.addresses)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not re.search(r"https?://|url\(|@import", html)
    for name in (*SYSTEMS, "prefers-color-scheme", "SSIM, column form"):
        assert name in html
    assert "0.735" in html or "0.73" in html


def test_published_figures_are_those_of_the_supplement() -> None:
    assert SYSTEMS["NEURONS"] == {
        "frame_2way": 0.811,
        "frame_50way": 0.210,
        "ssim_neurons": 0.365,
        "psnr_db": 9.527,
    }
    assert CONCEPTS[CLASSES.index("human")] == 0.735
    assert all(0 <= index < 51 and 0 <= share <= 1 for index, share in CONCEPTS.items())


def test_the_same_results_give_the_same_report(fixture: Fixture, tmp_path: Path) -> None:
    results = write_perfect(fixture, tmp_path / "results")
    for name in ("a", "b"):
        assert evaluate(fixture, results, tmp_path / name) == 0
    for file in ("report.json", "report.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def first_file(results: Path) -> Path:
    return next(iter(sorted(results.glob("conditions/*test01_run-1/*.safetensors"))))


def with_nan(results: Path) -> None:
    tensors = load_file(first_file(results))
    tensors["brain_tokens"][0, 0] = np.nan
    save_file(tensors, first_file(results))


def of_another_size(results: Path) -> None:
    tensors = load_file(first_file(results))
    tensors["latents"] = np.zeros((SIZES.n_frame, 4, 28, 28), dtype=np.float32)
    save_file(tensors, first_file(results))


def each_line(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def spoil(results: Path) -> None:
        path = results / "results.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            change(line)
        path.write_text("\n".join(map(json.dumps, lines)) + "\n")

    return spoil


SPOILT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "NaN in a tensor": (with_nan, "NaN"),
    "other sizes": (of_another_size, "same sizes"),
    "no lines": (lambda folder: (folder / "results.jsonl").write_text(""), "no results"),
    "no file": (lambda folder: (folder / "results.jsonl").unlink(), "corticast replay"),
    "not JSON": (lambda folder: (folder / "results.jsonl").write_text("{\n"), "JSON"),
    "not safetensors": (lambda folder: first_file(folder).write_text("x" * 40), "safetensors"),
    "another data set": (
        each_line(lambda line: line.update(run="sub-02_task-rest_run-1")),
        "another data set",
    ),
    "a run twice": (
        lambda folder: (folder / "results.jsonl").write_text(
            2 * (folder / "results.jsonl").read_text()
        ),
        "is the run in two folders?",
    ),
    "other times": (
        each_line(lambda line: line.update(stimulus_time_s=line["stimulus_time_s"] + 500)),
        "another data set",
    ),
    "other classes": (each_line(lambda line: line.update(concepts={"face": 1.0})), "classes"),
    "NaN probability": (each_line(lambda line: line["concepts"].update(human=None)), "NaN"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_bad_results_are_refused_with_what_was_found(
    fixture: Fixture, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    results = write_perfect(fixture, tmp_path / "results")
    spoil, said = SPOILT[case]
    spoil(results)
    assert evaluate(fixture, results, tmp_path / "report") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "report" / "report.json").exists()


def test_folders_that_hold_something_else_are_refused(
    fixture: Fixture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, out = write_perfect(fixture, tmp_path / "results"), tmp_path / "report"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert evaluate(fixture, empty, out) == 1
    for option in ("--image-classifier", "--video-classifier", "--nltk", "--word-vectors"):
        assert evaluate(fixture, results, out, "--nltk", str(empty), option, str(empty)) == 1
        assert "expected" in capsys.readouterr().err
    assert evaluate(fixture, tmp_path / "none.mcap", out) == 1


def test_a_recording_is_read_as_a_folder_of_results(fixture: Fixture, tmp_path: Path) -> None:
    writer_of = pytest.importorskip("mcap.writer")
    results, path = write_perfect(fixture, tmp_path / "results"), tmp_path / "session.mcap"
    with path.open("wb") as file:
        writer = writer_of.Writer(file)
        writer.start(profile="corticast")
        lines = (results / "results.jsonl").read_bytes().splitlines()
        files = [file.read_bytes() for file in sorted(results.glob("conditions/*/*"))]
        for topic, encoding, messages in (
            ("concepts", "json", lines),
            ("conditions", "safetensors", files),
            ("status", "json", [b"{}"]),
        ):
            channel = writer.register_channel(topic, encoding, schema_id=0)
            for k, message in enumerate(messages):
                writer.add_message(channel, log_time=k, publish_time=k, data=message)
        writer.finish()
    assert evaluate(fixture, path, tmp_path / "a") == 0
    assert evaluate(fixture, results, tmp_path / "b") == 0
    assert report_of(tmp_path / "a") == report_of(tmp_path / "b")
    path.write_bytes(path.read_bytes()[:-200])
    assert evaluate(fixture, path, tmp_path / "c") == 1
