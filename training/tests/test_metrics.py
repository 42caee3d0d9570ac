import json
import math
from pathlib import Path

import numpy as np
import pytest
from nltk.translate.bleu_score import corpus_bleu
from pycocoevalcap.bleu.bleu import Bleu
from safetensors.numpy import save_file
from skimage.color import rgb2gray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import reference
from corticast_training.errors import TrainingError
from corticast_training.evaluate import n_way
from corticast_training.evaluate.concepts import per_class, top1, top1_chance
from corticast_training.evaluate.consistency import clip_pcc
from corticast_training.evaluate.masks import iou, nearest
from corticast_training.evaluate.pixels import psnr_db, resized, ssim_2d, ssim_neurons
from corticast_training.evaluate.retrieval import hits, similarity
from corticast_training.evaluate.statistics import (
    Figure,
    Measured,
    NotComputed,
    judge,
    measure,
)
from corticast_training.evaluate.text import bleu, bleu_counts, cider_d, tokenise
from corticast_training.evaluate.verbs import read_vectors, verb_hits

METRICS = reference.section("metrics")
TOLERANCE = METRICS["tolerance"]
IMAGES = reference.tensors(METRICS["images"])
PAIRS = list(zip(IMAGES["pred_u8"], IMAGES["gt_u8"], strict=True))
TEXT = json.loads((reference.folder() / METRICS["text"]).read_text())


def within(name: str) -> float:
    return 0.0 if TOLERANCE[name] == "exact" else float(TOLERANCE[name])


def test_every_pair_of_pictures_has_its_figures() -> None:
    for name in ("ssim_reference_quirk_columns", "ssim_standard_2d", "psnr_db_null_is_inf"):
        assert len(METRICS[name]) == len(PAIRS) > 0, name


@pytest.mark.parametrize("case", range(len(PAIRS)))
def test_ssim_and_psnr_equal_the_reference(case: int) -> None:
    found, true = PAIRS[case]
    column = METRICS["ssim_reference_quirk_columns"][case]
    error = abs(ssim_neurons(found, true) - column)
    reference.compare(f"metrics ssim columns {case}", error, within("ssim"))
    usual = METRICS["ssim_standard_2d"][case]
    reference.compare(f"metrics ssim {case}", abs(ssim_2d(found, true) - usual), within("ssim"))
    decibel = METRICS["psnr_db_null_is_inf"][case]
    expected = math.inf if decibel is None else decibel
    decibels = psnr_db(found, true)
    error = 0.0 if decibels == expected else abs(decibels - expected)
    reference.compare(f"metrics psnr {case}", error, within("psnr"))
    if decibel is not None:
        skimage = peak_signal_noise_ratio(  # type: ignore[no-untyped-call]
            true, found, data_range=255
        )
        assert psnr_db(found, true) == pytest.approx(skimage, abs=1e-12)


def test_the_column_form_is_what_scikit_image_does_with_columns_as_channels() -> None:
    rng = np.random.default_rng(5)
    found, true = rng.integers(0, 256, (2, 40, 17, 3), dtype=np.uint8)
    skimage = structural_similarity(  # type: ignore[no-untyped-call]
        rgb2gray(found),
        rgb2gray(true),
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
    )
    assert ssim_neurons(found, true) == pytest.approx(skimage, abs=1e-12)


@pytest.mark.parametrize("case", METRICS["nway"], ids=lambda case: Path(case["file"]).stem)
def test_n_way_equals_the_reference_draw_by_draw(case: dict[str, float]) -> None:
    tensors = reference.tensors(str(case["file"]))
    predicted, true, picks = tensors["probs"], tensors["gt_classes"], tensors["picks"]
    top_k, n = int(case["top_k"]), int(case["n_way"])
    found = n_way.sampled(predicted, true, picks, top_k)
    name = Path(str(case["file"])).stem
    error = reference.differ(found, tensors["hits"]) + abs(found.mean() - case["acc"])
    reference.compare(f"metrics {name}", error, within("nway"))
    assert n_way.standard_deviation(found.mean(), len(picks)) == pytest.approx(case["std"])
    expected = case["exact_expected_acc"]
    assert n_way.exact(predicted, true, n, top_k) == pytest.approx(expected, abs=1e-12)


def test_the_exact_expectation_is_what_draws_tend_to() -> None:
    rng = np.random.default_rng(4)
    predicted = rng.dirichlet(np.full(80, 0.3))
    true = np.argsort(predicted)[[-20, -22, -30]]
    picks = n_way.draw_picks(80, true, 10, 4000, rng)
    assert not np.isin(picks, true).any()
    assert all(len(set(row)) == 9 for row in picks.tolist())
    drawn = n_way.sampled(predicted, true, picks, 2).mean()
    # Four standard errors of 4,000 draws.
    assert abs(drawn - n_way.exact(predicted, true, 10, 2)) < 4 * 0.5 / math.sqrt(4000)


def test_the_truth_has_the_three_most_likely_classes() -> None:
    logits = np.array([0.1, 3.0, -1.0, 2.0, 9.0])
    assert sorted(n_way.true_classes(logits).tolist()) == [1, 3, 4]
    assert n_way.exact(logits, n_way.true_classes(logits), 3, 1) == 1.0


@pytest.mark.parametrize("n", [2, 50])
def test_chance_of_n_way_is_what_noise_reaches(n: int) -> None:
    rng = np.random.default_rng(2)
    predicted, true = rng.random((5000, 400)), rng.random((5000, 400)).argsort(axis=1)[:, :3]
    found = n_way.exact(predicted, true, n, 1)
    assert abs(found.mean() - n_way.chance(n)) < 4 * found.std() / math.sqrt(5000)


def test_bleu_equals_the_reference_and_pycocoevalcap() -> None:
    rows = [bleu_counts(c, r) for c, r in zip(TEXT["candidates"], TEXT["references"], strict=True)]
    found = bleu(np.stack(rows).sum(axis=0))
    reference.compare("metrics bleu", reference.differ(found, TEXT["bleu"]), within("bleu"))
    coco, _ = Bleu(4).compute_score(
        dict(enumerate(TEXT["references"])),
        {k: [c] for k, c in enumerate(TEXT["candidates"])},
        verbose=0,
    )
    assert found.tolist() == pytest.approx(coco, rel=1e-12)
    # NLTK has no guard against one-word captions, and none is needed for BLEU-1.
    words = [[r.split() for r in rs] for rs in TEXT["references"]]
    nltk = corpus_bleu(words, [c.split() for c in TEXT["candidates"]], weights=[1])
    assert found[0] == pytest.approx(nltk, abs=1e-9)


def test_cider_d_equals_the_reference() -> None:
    found = cider_d(TEXT["candidates"], TEXT["references"])
    error = abs(found.mean() - TEXT["cider_d"])
    error = max(error, reference.differ(found, TEXT["cider_d_each"]))
    reference.compare("metrics cider", error, within("cider"))


def test_captions_are_compared_word_by_word() -> None:
    assert tokenise("A dog's Ball, rolling — fast!") == "a dog's ball rolling fast"
    assert bleu(bleu_counts("", ["a dog"])).tolist() == [0, 0, 0, 0]
    assert cider_d([""], [[""]]).tolist() == [0]


def test_a_decoder_that_always_says_the_same_is_at_chance() -> None:
    constant = np.ones((10, 4))
    truth = np.random.default_rng(0).standard_normal((10, 4))
    alike = similarity(lambda a, b: constant[a:b], 10, lambda a, b: truth[a:b] * 0 + 1, 10, block=3)
    assert hits(alike, 1, 10) == pytest.approx(np.full((10, 10), 0.1))
    assert hits(alike, 2, 5) == pytest.approx(np.full((10, 10), 0.4))
    assert top1(np.ones((2, 4)), np.eye(4, dtype=bool)[:2]).tolist() == [0.25, 0.25]


def test_retrieval_in_pools_is_the_mean_over_all_pools() -> None:
    from itertools import combinations

    rng = np.random.default_rng(1)
    found, truth = rng.standard_normal((7, 5)), rng.standard_normal((7, 5))
    table = similarity(lambda a, b: found[a:b], 7, lambda a, b: truth[a:b], 7, block=2)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (found, truth)]
    np.testing.assert_allclose(table, unit[0] @ unit[1].T, atol=1e-6)
    for row in range(7):
        others = [k for k in range(7) if k != row]
        pools = list(combinations(others, 3))
        expected = np.mean([all(table[row, row] > table[row, k] for k in p) for p in pools])
        assert hits(table, 1, 4)[row, row] == pytest.approx(expected)
        assert hits(table, 1, 7)[row, row] == (table[row].argmax() == row)


def test_concepts_are_counted_as_in_table_b() -> None:
    probabilities = np.array([[0.9, 0.2, 0.6], [0.4, 0.7, 0.6], [0.2, 0.6, 0.1]])
    labels = np.array([[True, False, False], [True, False, False], [False, False, False]])
    found = per_class(probabilities, labels)
    assert found.found[0] == 0.5 and np.isnan(found.found[1:]).all()
    assert found.false_alarm.tolist() == [0, 2 / 3, 2 / 3]
    assert found.n_clip.tolist() == [2, 0, 0]
    # The third clip has no label: it cannot tell.
    assert top1(probabilities, labels)[:2].tolist() == [1, 0]
    assert np.isnan(top1(probabilities, labels)[2])
    assert top1_chance(labels) == pytest.approx(1 / 3)


def test_masks_overlap_over_all_frames_of_a_clip() -> None:
    true = np.zeros((2, 4, 4), dtype=bool)
    true[0, :2] = True
    found = np.zeros_like(true)
    found[0, 1:3] = True
    assert iou(found, true) == pytest.approx(4 / 12)
    assert iou(true, true) == 1
    assert math.isnan(iou(found, np.zeros_like(true)))
    small = np.array([[[0, 1], [1, 0]]], dtype=np.uint8)
    assert nearest(nearest(small, 6), 2).tolist() == small.tolist()


def test_clip_pcc_is_the_mean_over_pairs_of_frames() -> None:
    embeddings = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    assert clip_pcc(embeddings) == pytest.approx((0 + 2 * math.sqrt(0.5)) / 3)


def test_frames_are_resized_as_pictures() -> None:
    frames = np.full((2, 8, 8, 3), 77, dtype=np.uint8)
    assert resized(frames, 4, 6).shape == (2, 4, 6, 3)
    assert (resized(frames, 4, 6) == 77).all()
    assert resized(frames, 8, 8) is frames


@pytest.mark.parametrize("form", ["glove", "word2vec", "safetensors"])
def test_word_vectors_are_read_in_three_forms(tmp_path: Path, form: str) -> None:
    table = {"run": [1.0, 0.0], "runs": [0.9, 0.1], "sit": [0.0, 1.0]}
    path = tmp_path / "vectors.txt"
    if form == "safetensors":
        path = tmp_path / "vectors.safetensors"
        rows = np.array(list(table.values()), dtype=np.float32)
        save_file({"vectors": rows}, path, metadata={"words": "\n".join(table)})
    else:
        lines = [f"{word} {x} {y}" for word, (x, y) in table.items()]
        path.write_text("\n".join(["3 2", *lines] if form == "word2vec" else lines) + "\n")
    vectors = read_vectors(path, ["run", "runs", "sit", "fly"])
    assert sorted(vectors) == ["run", "runs", "sit"]
    assert verb_hits(["runs", "sit", "fly"], ["run", "fly"], vectors) == (2, 3)
    assert verb_hits([], ["run"], vectors) == (0, 0)


@pytest.mark.parametrize("text", ["", "run 1 2\nsit 3\n", "run a b\n"])
def test_files_without_word_vectors_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(text)
    with pytest.raises(TrainingError, match=r"vectors\.txt"):
        read_vectors(path, ["run", "sit"])


def named(right: float, n: int = 200, seed: int = 0) -> Measured:
    """Results that name their own clip with probability `right`, else any."""
    rng = np.random.default_rng(seed)
    said = np.where(rng.random(n) < right, np.arange(n), rng.integers(n, size=n))
    return measure(np.arange(n), lambda order: (said == order) * 1.0, n_shuffle=50, seed=seed)


def judged(*repeats: Measured, seed: int = 0) -> Figure:
    figure = judge(repeats, seed)
    assert isinstance(figure, Figure)
    return figure


def test_a_figure_stands_beside_its_control_and_interval() -> None:
    figure = judged(*[named(0.8, seed=k) for k in range(3)])
    assert figure.interval[0] < 0.8 < figure.interval[1]
    assert figure.control is not None and figure.control < 0.05
    assert figure.p_value == pytest.approx(1 / 51)
    assert figure.above_control is not None
    assert 0.7 < figure.above_control[0] < figure.above_control[1] < 0.9
    assert figure.sd is not None and figure.sd < 0.1
    assert (figure.n_clip, figure.n_repeat) == (200, 3)


def test_results_that_know_nothing_are_at_the_level_of_their_control() -> None:
    figure = judged(named(0.0))
    assert figure.control_interval is not None
    assert figure.control_interval[0] <= figure.value <= figure.control_interval[1]
    assert figure.above_control is not None
    assert figure.above_control[0] <= 0 <= figure.above_control[1]
    assert figure.p_value is not None and figure.p_value > 0.05
    assert figure.sd is None


def test_few_shuffles_give_a_control_but_no_p_value() -> None:
    figure = judged(
        measure(np.arange(50), lambda order: (order == np.arange(50)) * 1.0, n_shuffle=3)
    )
    assert figure.control == 0 and figure.p_value is None


def test_repeats_may_lack_clips() -> None:
    part = measure(np.array([3, 9]), lambda order: np.ones(2))
    figure = judged(named(1.0, n=20), part)
    assert figure.value == 1.0 and figure.n_clip == 20


def test_the_control_never_holds_a_result_against_its_own_clip() -> None:
    found = measure(np.arange(7), lambda order: (order == np.arange(7)) * 1.0)
    assert found.rows.tolist() == [[1, 1]] * 7
    assert sum(rows[:, 0].sum() for rows in found.shuffled) == 0


def test_nothing_known_is_no_figure() -> None:
    blank = measure(np.arange(3), lambda order: np.full(3, np.nan))
    assert isinstance(judge([blank]), NotComputed)


def test_the_same_seed_gives_the_same_interval() -> None:
    assert judged(named(0.5), seed=3) == judged(named(0.5), seed=3)
