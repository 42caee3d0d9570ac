import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import RidgeCV

from corticast_training.cli import main
from corticast_training.commands.interpret import split_groups
from corticast_training.config import Config
from corticast_training.data.nifti import open_image, read_map, write_map
from corticast_training.errors import TrainingError
from corticast_training.interpret import TASKS
from corticast_training.interpret.embeddings import Embeddings, standardised, task_embeddings
from corticast_training.interpret.maps import draw_slices, read_mask, volume_of
from corticast_training.interpret.network import TaskReadout, correlation, fit_network
from corticast_training.interpret.ridge import ALPHAS, groups_of, ridge_scores
from corticast_training.interpret.settings import Settings
from corticast_training.targets.store import read_targets
from corticast_training.training.checkpoint import load_decoupler
from movie_study import Study

N_CLIP, N_EACH = 240, 12
TRAIN, VALIDATION = np.arange(200), np.arange(200, 240)


def random_embeddings(n: int = N_CLIP) -> Embeddings:
    rng = np.random.default_rng(0)
    widths = dict(zip(TASKS, (12, 8, 10, 6), strict=True))
    raw = {task: rng.standard_normal((n, width), np.float32) for task, width in widths.items()}
    return standardised(raw, np.arange(n))


def planted(embeddings: Embeddings) -> NDArray[np.float32]:
    """BOLD of twelve voxels a task that answer that task alone, and twelve that are noise."""
    rng = np.random.default_rng(1)
    columns = []
    for task in TASKS:
        readout = rng.standard_normal((embeddings[task].shape[1], N_EACH))
        signal = embeddings[task] @ readout
        columns.append(signal / signal.std(0) + 0.5 * rng.standard_normal(signal.shape))
    columns.append(rng.standard_normal((N_CLIP, N_EACH)))
    bold = np.concatenate(columns, axis=1)
    return np.asarray((bold - bold[TRAIN].mean(0)) / bold[TRAIN].std(0), np.float32)


def test_weights_and_ridge_both_find_the_task_that_was_planted() -> None:
    embeddings = random_embeddings()
    bold = planted(embeddings)
    settings = Settings(learning_rate=1e-2, epochs=60)
    found = fit_network(embeddings, bold, TRAIN, VALIDATION, settings)
    truth = np.repeat(np.arange(4), N_EACH)
    np.testing.assert_allclose(found.weights.sum(1), 1, rtol=1e-5)
    assert (found.weights[: len(truth)].argmax(1) == truth).mean() >= 0.95
    # A quarter is chance.
    assert found.weights[np.arange(len(truth)), truth].mean() > 0.4
    assert np.median(found.correlation[: len(truth)]) > 0.6
    assert abs(found.correlation[len(truth) :].mean()) < 0.15
    assert found.loss[-1][1] < 0.8 * found.loss[0][1]

    ridge = ridge_scores(embeddings, bold, np.arange(N_CLIP) // 24)
    alone = np.stack([ridge[task] for task in TASKS], axis=1)
    assert (alone[: len(truth)].argmax(1) == truth).all()
    assert alone[np.arange(len(truth)), truth].min() > 0.5
    assert np.abs(alone[len(truth) :].mean(0)).max() < 0.15


def test_a_voxel_is_the_weighted_sum_of_what_it_reads_of_each_task() -> None:
    torch.manual_seed(0)
    widths = dict(zip(TASKS, (3, 4, 2, 5), strict=True))
    network = TaskReadout(widths, n_voxel=6, width=7)
    with torch.no_grad():
        network.choice.normal_()
    embeddings = [torch.randn(2, width) for width in widths.values()]
    found = network(embeddings)
    for voxel in (0, 5):
        weight = torch.exp(network.choice[voxel]) / torch.exp(network.choice[voxel]).sum()
        for clip in (0, 1):
            value = 0.0
            for k, project in enumerate(network.project):
                seen = project(embeddings[k][clip])
                value += (weight[k] * (network.readout[voxel] * seen).sum()).item()
            assert found[clip, voxel].item() == pytest.approx(value, rel=1e-4, abs=1e-5)


def test_before_training_every_task_has_its_quarter() -> None:
    network = TaskReadout(dict.fromkeys(TASKS, 3), n_voxel=5, width=2)
    torch.testing.assert_close(network.weights(), torch.full((5, 4), 0.25))
    assert Settings() == Settings(epochs=50, learning_rate=1e-5)


def test_the_same_seed_gives_the_same_weights() -> None:
    embeddings = random_embeddings()
    bold = planted(embeddings)
    settings = Settings(learning_rate=1e-2, epochs=2)
    first, second = (fit_network(embeddings, bold, TRAIN, VALIDATION, settings) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)


def test_a_rate_that_is_too_large_is_said() -> None:
    embeddings = random_embeddings()
    with pytest.raises(TrainingError, match=r"diverged .* of 1e\+20: expected a smaller"):
        settings = Settings(learning_rate=1e20, epochs=5)
        fit_network(embeddings, planted(embeddings), TRAIN, VALIDATION, settings)


def test_ridge_is_scikit_learns_fold_by_fold_and_no_segment_stands_on_both_sides() -> None:
    embeddings = random_embeddings(60)
    task = TASKS[0]
    bold = planted(random_embeddings())[:60, :3]
    groups = np.repeat(np.arange(3), 20)
    found = ridge_scores({task: embeddings[task]}, bold, groups)[task]
    predicted, truth = [], []
    for group in range(3):
        held = groups == group
        model = RidgeCV(alphas=ALPHAS, alpha_per_target=True)
        model.fit(embeddings[task][~held], bold[~held])
        said = model.predict(embeddings[task][held])
        predicted.append(said - said.mean(0))
        truth.append(bold[held] - bold[held].mean(0))
    together = np.concatenate(predicted), np.concatenate(truth)
    for voxel in range(3):
        r = np.corrcoef(together[0][:, voxel], together[1][:, voxel])[0, 1]
        assert found[voxel] == pytest.approx(r, abs=1e-4)


def test_correlation_of_a_flat_column_is_zero() -> None:
    a = np.array([[1, 2, 5], [1, 3, 4], [1, 5, 1]], np.float32)
    b = np.array([[3, 2, 1], [1, 3, 2], [2, 5, 5]], np.float32)
    assert correlation(a, b).tolist() == pytest.approx([0, 1, -1], abs=1e-2)


def test_embeddings_are_standardised_by_the_training_clips_and_made_comparable() -> None:
    rng = np.random.default_rng(0)
    raw = {task: (5 + 3 * rng.standard_normal((40, 6))).astype(np.float32) for task in TASKS}
    raw["concepts"][:, 2] = 4.0
    found = standardised(raw, np.arange(30))
    for task, alive in (("segmentation", 6), ("concepts", 5)):
        np.testing.assert_allclose(found[task][:30].mean(0), 0, atol=1e-5)
        assert (found[task][:30] ** 2).sum() == pytest.approx(30, rel=1e-3)
        assert (found[task].std(0) > 0).sum() == alive


def test_whole_segments_are_held_out() -> None:
    groups = np.repeat(np.arange(10), 7)
    train, validation = split_groups(groups, 0.2, seed=0)
    assert not set(groups[train]) & set(groups[validation])
    assert len(set(groups[validation])) == 2 and len(train) + len(validation) == 70
    assert groups_of(np.zeros(20, np.int64)).tolist() == sorted(list(range(5)) * 4)
    with pytest.raises(TrainingError, match="9 clips, expected at least 10"):
        groups_of(np.zeros(9, np.int64))
    with pytest.raises(TrainingError, match="expected a fraction between 0 and 1"):
        split_groups(groups, 1.0, seed=0)


def test_task_embeddings_are_of_one_clip_and_empty_without_a_key_object(
    study: Study, decoupler: Path
) -> None:
    _, _, network, config, _ = load_decoupler(decoupler)
    targets = read_targets(study.targets, config.sizes)
    rows = np.arange(len(targets.train))
    found = task_embeddings(network, targets, "train", rows)
    sizes = Config.load(str(study.config)).sizes
    assert {task: values.shape[1] for task, values in found.items()} == {
        "segmentation": 16 * sizes.up_channels[-1],
        "concepts": sizes.text_dim,
        "description": sizes.caption_embd,
        "reconstruction": 16 * sizes.up_channels[-1],
    }
    without = targets.train.key_name < 0
    assert not found["segmentation"][without].any()
    assert found["segmentation"][~without].any(1).all()
    few = task_embeddings(network, targets, "train", np.array([20, 4]))
    for task in TASKS:
        np.testing.assert_allclose(few[task], found[task][[20, 4]], atol=1e-4)


def arguments(study: Study, decoupler: Path, out: Path, *more: str) -> list[str]:
    given = ["interpret", "--decoupler", str(decoupler), "--data", str(study.movie.folder)]
    given += ["--targets", str(study.targets), "--prepared", f"02={study.prepared('02')}"]
    return [*given, "--epochs", "3", "--learning-rate", "1e-3", "--out", str(out), *more]


def test_maps_are_written_in_the_space_of_the_mask(
    study: Study, decoupler: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "maps"
    assert main(arguments(study, decoupler, out)) == 0
    mask, affine = read_map(study.movie.layout.mask("02"))
    inside = mask > 0
    weights, report = [], json.loads((out / "interpret.json").read_text())
    for task in TASKS:
        for kind in ("weights", "ridge"):
            values, own = read_map(out / f"{kind}_{task}.nii.gz")
            np.testing.assert_allclose(own, affine)
            assert values.shape == mask.shape and not values[~inside].any()
            assert values[inside].mean() == pytest.approx(report[kind][task]["mean"], abs=1e-5)
            if kind == "weights":
                weights.append(values[inside])
    np.testing.assert_allclose(np.sum(weights, axis=0), 1, rtol=1e-5)
    score, own = read_map(out / "score.nii.gz")
    assert np.abs(score).max() <= 1 and np.allclose(own, affine)
    assert not np.allclose(affine, np.eye(4))
    assert str(open_image(out / "score.nii.gz").get_data_dtype()) == "float32"
    for name in ("slices.png", "scores.png"):
        with Image.open(out / name) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert picture.format == "PNG" and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    assert report["clips"]["train"] + report["clips"]["validation"] == 36
    assert set(report["truth"]) >= {"early", "meaning"}
    assert "all tasks: correlation with held-out BOLD" in capsys.readouterr().out


def test_a_value_is_drawn_where_its_voxel_is(tmp_path: Path) -> None:
    mask = np.zeros((4, 5, 3), np.bool_)
    mask[1, 2, 0] = mask[1, 2, 2] = mask[3, 0, 0] = True
    # The daemon's order: x slowest, z fastest.
    volume = volume_of(np.array([1, 2, 3], np.float32), mask)
    assert [volume[1, 2, 0], volume[1, 2, 2], volume[3, 0, 0]] == [1, 2, 3]
    assert np.isnan(volume[0, 0, 0])
    pictures = []
    for values in ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]):
        path = tmp_path / "a.png"
        draw_slices(path, {"a": np.array(values, np.float32)}, mask, "title", (0, 1))
        with Image.open(path) as picture:
            pictures.append(np.asarray(picture.convert("RGB")).astype(int))
    changed = [np.argwhere((picture != pictures[0]).any(2)) for picture in pictures[1:]]
    # Slice 0 is drawn left of slice 2; slice 1 has no voxel.
    assert changed[0][:, 1].max() < changed[1][:, 1].min()


def test_masks_of_other_runs_are_refused(study: Study, tmp_path: Path) -> None:
    path = study.movie.layout.mask("02")
    mask, affine = read_map(path)
    space = {
        "matrix": list(mask.shape),
        "n_voxel": int(mask.sum()),
        "affine": affine[:3].tolist(),
    }
    found, own = read_mask(path, space)
    np.testing.assert_array_equal(found, mask > 0)
    np.testing.assert_array_equal(own, affine)
    with pytest.raises(TrainingError, match="the runs were prepared with 9 of"):
        read_mask(path, space | {"n_voxel": 9})
    moved = affine.copy()
    moved[0, 3] += 0.5
    write_map(tmp_path / "moved.nii.gz", mask, moved)
    with pytest.raises(TrainingError, match="its affine differs from that of the prepared runs"):
        read_mask(tmp_path / "moved.nii.gz", space)
    with pytest.raises(TrainingError, match="expected the mask of the prepared runs"):
        read_mask(tmp_path / "none.nii.gz", space)
    (tmp_path / "text.nii.gz").write_text("hello")
    with pytest.raises(TrainingError, match="not a NIfTI image"):
        read_mask(tmp_path / "text.nii.gz", space)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--learning-rate", "0"), "--learning-rate is 0.0, expected more than 0"),
        (("--validation", "0"), "--validation is 0.0, expected a fraction"),
        (("--prepared", "here"), "expected SUBJECT=DIR, e.g. 01=dir"),
        (("--subject", "01"), "--subject is 01, --prepared is of 02"),
        (("--decoupler", "nowhere"), "no training.toml in it"),
        (("--mask", "nowhere.nii.gz"), "missing, expected the mask"),
    ],
)
def test_impossible_wishes_write_no_maps(
    study: Study,
    decoupler: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    message: str,
) -> None:
    assert main(arguments(study, decoupler, tmp_path / "maps", *more)) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "maps").exists()


def test_a_model_that_learned_no_tasks_or_other_targets_is_not_interpreted(
    study: Study, decoupler: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "decoupler"
    shutil.copytree(decoupler, copy)
    Config.load(str(copy / "config.toml"), {"decoupler.decoupled": False}).save(
        copy / "config.toml"
    )
    assert main(arguments(study, copy, tmp_path / "maps")) == 1
    assert "its four tasks are as they began" in capsys.readouterr().err
    other = tmp_path / "targets"
    shutil.copytree(study.targets, other)
    facts = (other / "targets.toml").read_text()
    (other / "targets.toml").write_text(facts + "# of another day\n")
    more = ("--targets", str(other))
    assert main(arguments(study, decoupler, tmp_path / "maps", *more)) == 1
    assert "other targets than those of the decoupler" in capsys.readouterr().err
    assert not (tmp_path / "maps").exists()


def test_only_a_folder_of_maps_is_replaced_and_only_by_force(
    study: Study, decoupler: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "maps"
    out.mkdir()
    (out / "interpret.json").write_text("{}")
    assert main(arguments(study, decoupler, out)) == 1
    assert "--force replaces one of maps" in capsys.readouterr().err
    assert main(arguments(study, decoupler, out, "--force", "--epochs", "1")) == 0
    assert (out / "score.nii.gz").is_file()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    assert main(arguments(study, decoupler, tmp_path / "other", "--force")) == 1
    assert (tmp_path / "other" / "thesis.tex").is_file()
