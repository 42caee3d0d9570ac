import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from corticast_training.conventions.motion import motion_to_matrix
from corticast_training.project.space import inverse
from corticast_training.project.trilinear import corners
from projecting import AFFINE, MATRIX, Projected, affine_text, image, oblique, project

RNG = np.random.default_rng(11)
VOLUME = RNG.normal(1000, 100, MATRIX).astype(np.float32)
SMALL_MOTION = (0.8, -1.1, 0.6, 0.03, -0.02, 0.05)


@pytest.fixture
def today(tmp_path: Path) -> Path:
    return image(tmp_path / "today.nii.gz", VOLUME)


def middle(matrix: tuple[int, int, int] = MATRIX) -> NDArray[np.uint8]:
    """A mask of an odd shape, well inside."""
    mask = np.zeros(matrix, np.uint8)
    mask[3:6, 2:5, 2:5] = RNG.random((3, 3, 3)) > 0.3
    mask[4, 4, 3] = 1
    return mask


def scipys(points_mm: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """What scipy makes of today's volume at points; they have to be inside."""
    voxels = apply_affine(np.linalg.inv(affine), points_mm)
    found = map_coordinates(VOLUME.astype(np.float64), voxels.T, order=1, mode="nearest")
    assert isinstance(found, np.ndarray)
    return found


def points_of(mask: NDArray[np.uint8], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    found = apply_affine(affine, np.argwhere(mask))
    assert isinstance(found, np.ndarray)
    return found


def test_without_a_transform_the_matrix_is_the_mask(today: Path, tmp_path: Path) -> None:
    mask = middle()
    given = image(tmp_path / "mask.nii.gz", mask)
    assert project(today, tmp_path / "out.safetensors", "--mask", given) == 0
    found = Projected(tmp_path / "out.safetensors")
    linear = np.flatnonzero(mask.reshape(-1))  # (x·ny + y)·nz + z, the daemon's order
    np.testing.assert_array_equal(found.indices, linear)
    assert (found.weights == 1).all() and found.indptr.tolist() == list(range(len(linear) + 1))
    assert found.tensors["matrix"].tolist() == list(MATRIX)
    np.testing.assert_array_equal(found.tensors["affine"], AFFINE)
    types = {name: str(tensor.dtype) for name, tensor in found.tensors.items()}
    assert types == {
        **{"indptr": "uint32", "indices": "uint32", "weights": "float32"},
        **{"matrix": "int64", "affine": "float64"},
    }


def test_values_of_a_mask_are_weights(today: Path, tmp_path: Path) -> None:
    mask = middle().astype(np.float32)
    mask[4, 4, 3] = -0.25
    given = image(tmp_path / "mask.nii.gz", mask)
    assert project(today, tmp_path / "out.safetensors", "--mask", given) == 0
    found = Projected(tmp_path / "out.safetensors")
    np.testing.assert_array_equal(found.weights, mask[mask != 0])


@pytest.mark.parametrize(
    "affine",
    [AFFINE, AFFINE @ np.diag([-1.0, 1, 1, 1]), oblique(), AFFINE[:, [2, 0, 1, 3]]],
    ids=["scanner", "flipped", "oblique", "axes exchanged"],
)
def test_another_space_is_interpolated_as_scipy_does(tmp_path: Path, affine: object) -> None:
    theirs = np.asarray(affine, np.float64)
    mask = middle()
    centre = apply_affine(AFFINE, [4.3, 3.6, 3.1]) - apply_affine(theirs, [4, 3, 3])
    moved = theirs.copy()
    moved[:3, 3] += centre  # so that it lies in the middle of today's scan
    given = image(tmp_path / "mask.nii.gz", mask, moved)
    for today in (AFFINE, oblique()):
        path = image(tmp_path / "today.nii.gz", VOLUME, today)
        shift = np.eye(4)
        shift[:3, 3] = apply_affine(today, [4.2, 3.7, 3.3]) - apply_affine(moved, [4, 3, 3])
        step = motion_to_matrix((*[0.0] * 3, 0.02, -0.05, 0.04)) @ shift
        about = np.eye(4)
        about[:3, 3] = apply_affine(today, [4, 3.5, 3]) - apply_affine(
            step, apply_affine(moved, [4, 3, 3])
        )
        step = about @ step
        text = affine_text(tmp_path / "step.txt", step)
        out = tmp_path / "out.safetensors"
        assert project(path, out, "--mask", given, "--affine", text) == 0
        found = Projected(out)
        expected = scipys(apply_affine(step, points_of(mask, moved)), today)
        np.testing.assert_allclose(found.of(VOLUME), expected, rtol=1e-5)
        assert found.report["coverage"]["full"] == int(mask.sum())


def test_the_ways_to_give_one_rigid_transform_agree(today: Path, tmp_path: Path) -> None:
    mask = middle()
    given = image(tmp_path / "mask.nii.gz", mask)
    to_model = motion_to_matrix(SMALL_MOTION)
    table = tmp_path / "motion.tsv"
    table.write_text(
        "trans_x\ttrans_y\ttrans_z\trot_x\trot_y\trot_z\n" + "\t".join(map(str, SMALL_MOTION))
    )
    ways = {
        "--motion": table,
        "--inverse-affine": affine_text(tmp_path / "to_model.txt", to_model),
        "--affine": affine_text(tmp_path / "to_today.txt", inverse(to_model)),
    }
    sums = []
    for number, (option, path) in enumerate(ways.items()):
        out = tmp_path / f"{number}.safetensors"
        assert project(today, out, "--mask", given, option, path) == 0
        sums.append(Projected(out).of(VOLUME))
    expected = scipys(apply_affine(np.linalg.inv(to_model), points_of(mask, AFFINE)), AFFINE)
    for found in sums:
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def field_of(
    affine: NDArray[np.float64], grid: NDArray[np.float64], shape: tuple[int, int, int]
) -> NDArray[np.float64]:
    """The displacements of an affine at every voxel of a grid, RAS+ mm."""
    at = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    points = apply_affine(grid, at)
    moved = apply_affine(affine, points)
    return np.asarray(moved - points, np.float64).reshape(*shape, 3)


@pytest.mark.parametrize("axes", [(4,), (5,)], ids=["x y z last", "intent of a vector"])
def test_a_warp_that_is_an_affine_gives_what_the_affine_gives(
    today: Path, tmp_path: Path, axes: tuple[int]
) -> None:
    affine = motion_to_matrix(SMALL_MOTION)
    affine[0, 0] *= 1.02
    grid, shape = oblique() @ np.diag([1.5, 1.5, 1.5, 1]), (12, 11, 10)
    grid[:3, 3] += apply_affine(AFFINE, [4, 3.5, 3]) - apply_affine(grid, [5.5, 5, 4.5])
    field = field_of(affine, grid, shape)
    if axes == (5,):
        field = field[:, :, :, None]
    mask = middle()
    given = image(tmp_path / "mask.nii.gz", mask)
    text = affine_text(tmp_path / "step.txt", affine)
    ras = image(tmp_path / "ras.nii.gz", field.astype(np.float64), grid)
    lps = image(tmp_path / "lps.nii.gz", field * [-1.0, -1.0, 1.0], grid)
    sums = {}
    for option, path in (("--affine", text), ("--warp-ras", ras), ("--warp-lps", lps)):
        out = tmp_path / f"out{option}.safetensors"
        assert project(today, out, "--mask", given, option, path) == 0
        sums[option] = Projected(out).of(VOLUME)
    np.testing.assert_allclose(sums["--warp-ras"], sums["--affine"], rtol=1e-5)
    np.testing.assert_allclose(sums["--warp-lps"], sums["--affine"], rtol=1e-5)


def test_transforms_are_applied_in_the_order_given(today: Path, tmp_path: Path) -> None:
    first, second = motion_to_matrix(SMALL_MOTION), np.diag([1.05, 1.0, 0.97, 1.0])
    mask = middle()
    given = image(tmp_path / "mask.nii.gz", mask)
    a, b = affine_text(tmp_path / "a.txt", first), affine_text(tmp_path / "b.txt", second)
    out = tmp_path / "out.safetensors"
    assert project(today, out, "--mask", given, "--affine", a, "--affine", b) == 0
    expected = scipys(apply_affine(second @ first, points_of(mask, AFFINE)), AFFINE)
    np.testing.assert_allclose(Projected(out).of(VOLUME), expected, rtol=1e-5)


def test_at_the_border_weights_are_scaled_up_and_outside_there_are_none() -> None:
    # Along x: half way to the edge of the last voxel, on the edge, beyond it, and NaN.
    at = np.array([[2.25, 1, 1], [2.5, 1, 1], [2.51, 1, 1], [np.nan, 1, 1], [-0.5, -0.5, 1]])
    found = corners(at, (3, 3, 3))
    np.testing.assert_allclose(found.support, [0.75, 0.5, 0, 0, 0.25])
    np.testing.assert_allclose(found.weights.sum(axis=1), [1, 1, 0, 0, 1])
    assert found.indices[0][found.weights[0] > 0].tolist() == [(2 * 3 + 1) * 3 + 1]


def test_random_points_have_the_weights_of_scipy_up_to_half_a_voxel_outside() -> None:
    voxels = RNG.uniform(-0.5, np.array(MATRIX) - 0.5, (500, 3))
    found = corners(voxels, MATRIX)
    sums = (VOLUME.reshape(-1)[found.indices] * found.weights).sum(axis=1)
    expected = map_coordinates(VOLUME.astype(np.float64), voxels.T, order=1, mode="nearest")
    np.testing.assert_allclose(sums, expected, rtol=1e-5)
    between = ((voxels >= 0) & (voxels <= np.array(MATRIX) - 1)).all(axis=1)
    np.testing.assert_allclose(found.support[between], 1)
    assert (found.support[~between] < 1).all() and 0 < between.sum() < 500


def test_labels_become_means_in_ascending_order(today: Path, tmp_path: Path) -> None:
    labels = np.zeros(MATRIX, np.int16)
    labels[2:4, 2:5, 2:5], labels[5:7, 2:4, 2:4], labels[1, 1, 1] = 30, 7, 12
    given = image(tmp_path / "atlas.nii.gz", labels)
    out = tmp_path / "out.safetensors"
    assert project(today, out, "--parcels", given) == 0
    found = Projected(out)
    expected = [VOLUME[labels == number].mean(dtype=np.float64) for number in (7, 12, 30)]
    np.testing.assert_allclose(found.of(VOLUME), expected, rtol=1e-6)
    # Moved by half a voxel, a parcel shares voxels among its points: each is there once.
    half = np.eye(4)
    half[0, 3] = 1.5
    text = affine_text(tmp_path / "half.txt", half)
    assert project(today, out, "--parcels", given, "--affine", text) == 0
    found = Projected(out)
    for number, label in enumerate((7, 12, 30)):
        assert len(found.row(number)) == np.diff(found.indptr)[number]
        points = apply_affine(half, points_of((labels == label).astype(np.uint8), AFFINE))
        assert found.of(VOLUME)[number] == pytest.approx(scipys(points, AFFINE).mean(), rel=1e-5)


def test_a_parcel_that_is_cut_off_is_the_mean_of_the_rest(today: Path, tmp_path: Path) -> None:
    bigger = np.zeros((9, 8, 11), np.int16)
    bigger[4, 4, 5:11] = 1  # two of its six voxels are in today's scan
    given = image(tmp_path / "atlas.nii.gz", bigger)
    out = tmp_path / "out.safetensors"
    assert project(today, out, "--parcels", given) == 0
    found = Projected(out)
    assert found.of(VOLUME)[0] == pytest.approx(VOLUME[4, 4, 5:7].mean(), rel=1e-6)
    assert found.report["coverage"]["partial"] == 1
    assert found.report["coverage"]["lowest_partial_support"] == pytest.approx(2 / 6)


def test_coverage_is_refused_printed_and_written(
    today: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bigger = np.zeros((9, 8, 9), np.uint8)
    bigger[4, 4, :] = 1  # 9 voxels, 7 of them in today's scan
    given = image(tmp_path / "mask.nii.gz", bigger)
    step = np.eye(4)
    step[2, 3] = -0.7  # a fifth of a voxel: the first is still inside, by four fifths
    text = affine_text(tmp_path / "step.txt", step)
    out = tmp_path / "out.safetensors"
    words = ("--mask", given, "--affine", text)
    assert project(today, out, *words) == 1
    said = capsys.readouterr()
    assert "2 of 9 features lie outside of today's field of view (7, 8)" in said.err
    assert "77.78 % have support, expected 100 %" in said.err and not out.exists()
    # Its z is 6.8: inside. The one after it, at 7.8, is not.
    assert project(today, out, *words, "--min-coverage", "0.75") == 0
    said = capsys.readouterr()
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[0] == ["features", "full", "partial", "none", "supported"]
    assert lines[1] == ["voxels", "9", "6", "1", "2", "77.78", "%"]
    assert "lowest partial support: 80.0 %" in said.out
    found = Projected(out)
    assert found.row(7) == {} and found.row(8) == {} and found.n == 9
    assert found.row(0) == {(4 * 8 + 4) * 7: 1.0}
    counted = json.loads(found.metadata["coverage"])
    assert counted == found.report["coverage"] and counted["without_support"] == ["7", "8"]
    assert json.loads(found.metadata["transforms"])[0]["file"] == "step.txt"
    assert str(tmp_path) not in json.dumps(found.metadata)
    assert project(today, out, *words, "--min-coverage", "0.75", "--json") == 0
    assert json.loads(capsys.readouterr().out) == found.report


def test_the_same_input_gives_the_same_bytes(today: Path, tmp_path: Path) -> None:
    given = image(tmp_path / "mask.nii.gz", middle())
    outs = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for out in outs:
        assert project(today, out, "--mask", given) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_the_mask_of_a_model_is_compared_and_its_hash_written(
    today: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = middle()
    given = image(tmp_path / "mask.nii.gz", mask)
    model = tmp_path / "model"
    model.mkdir()

    def manifest(n_voxel: int, z_mm: float) -> None:
        affine = AFFINE.copy()
        affine[2, 3] += z_mm
        (model / "manifest.toml").write_text(
            f'[mask]\nhash = "{"ab" * 32}"\nn_voxel = {n_voxel}\nmatrix = {list(MATRIX)}\n'
            f"affine = {affine.tolist()}\n"
        )

    out = tmp_path / "out.safetensors"
    manifest(int(mask.sum()), 0.0)
    assert project(today, out, "--mask", given, "--model", model) == 0
    assert Projected(out).metadata["model_mask_hash"] == "ab" * 32
    manifest(int(mask.sum()), 1.0)
    assert project(today, out, "--mask", given, "--model", model) == 1
    assert "a corner lies 1 mm from that of the mask of" in capsys.readouterr().err
    manifest(3, 0.0)
    assert project(today, out, "--mask", given, "--model", model) == 1
    assert f"{int(mask.sum())} features, expected the 3 of the mask" in capsys.readouterr().err


def written(name: str, text: str | bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def picture(
    values: NDArray[np.float64], affine: NDArray[np.float64] = AFFINE
) -> Callable[..., Path]:
    return lambda folder: image(folder / "given.nii.gz", values, affine)


ONES, IDENTITY = np.ones(MATRIX), "1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"
NAN = np.where(np.arange(7) == 3, np.nan, ONES)


@pytest.mark.parametrize(
    ("option", "given", "message"),
    [
        ("--mask", picture(np.zeros(MATRIX)), "every voxel is 0, expected the mask of the model"),
        ("--mask", picture(NAN), "holds NaN or Inf, expected a mask with finite weights"),
        ("--mask", picture(np.ones((3, 3, 3, 2))), "expected one volume [X, Y, Z]"),
        ("--mask", written("m.nii.gz", "no image"), "not a NIfTI image"),
        ("--mask", lambda folder: folder / "none.nii.gz", "none.nii.gz: missing"),
        ("--mask", lambda folder: folder / "x.dscalar.nii", "is a CIFTI file, expected an image"),
        ("--parcels", picture(ONES * 1.5), "holds values that are no whole numbers"),
        ("--parcels", picture(np.zeros(MATRIX)), "every voxel is 0, expected labels of parcels"),
        ("--cifti", picture(ONES), "expected a CIFTI file, such as .dscalar.nii"),
        ("--affine", written("a.txt", IDENTITY[:24]), "3 lines of numbers (4, 4, 4 in each)"),
        ("--affine", written("a.txt", "a b c d\n" * 4), "expected 4 lines of 4 numbers"),
        ("--affine", written("a.txt", "0 0 0 0\n" * 3 + "0 0 0 1"), "is singular (determinant 0)"),
        ("--affine", written("a.txt", IDENTITY[:-8] + "1 0 0 1"), "ends with the row 1 0 0 1"),
        ("--affine", written("a.txt", IDENTITY.replace("1", "nan")), "holds NaN or Inf"),
        ("--affine", written("a.mat", b"\x00\xff\xfe"), "ANTs writes a binary .mat"),
        (
            "--affine",
            written("a.txt", "#Insight Transform File V1.0\n"),
            "an ITK transform, in LPS",
        ),
        ("--motion", written("m.tsv", "trans_x\n1\n"), "no column trans_y, trans_z, rot_x"),
        (
            "--motion",
            written(
                "m.tsv",
                "trans_x\ttrans_y\ttrans_z\trot_x\trot_y\trot_z\n" + "0\t0\t0\t0\t0\t0\n" * 2,
            ),
            "motion of 2 volumes, expected 1",
        ),
        ("--warp-ras", picture(ONES), "expected a field of displacements"),
        ("--warp-lps", picture(np.full((3, 3, 3, 3), np.nan)), "expected finite displacements"),
        ("--surface", written("s.surf.gii", "<no"), "expected a surface, .surf.gii"),
    ],
)
def test_bad_input_says_what_was_found_and_expected_and_writes_nothing(
    today: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    given: Callable[[Path], Path],
    message: str,
) -> None:
    words: tuple[str | Path, ...] = (option, given(tmp_path))
    if option not in ("--mask", "--parcels", "--cifti", "--surface"):
        words = (*words, "--mask", image(tmp_path / "mask.nii.gz", middle()))
    assert project(today, tmp_path / "out.safetensors", *words) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_a_reference_that_the_daemon_would_refuse_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = image(tmp_path / "mask.nii.gz", middle())
    out = tmp_path / "out.safetensors"
    flat = image(tmp_path / "flat.nii.gz", np.ones((5, 5)))
    assert project(flat, out, "--mask", given) == 1
    assert "expected a volume [X, Y, Z] or a run" in capsys.readouterr().err
    long = image(tmp_path / "long.nii.gz", np.ones((1025, 1, 1), np.uint8))
    assert project(long, out, "--mask", given) == 1
    assert "expected 1 to 1024 voxels along each axis" in capsys.readouterr().err
    away = AFFINE.copy()
    away[0, 3] += 500
    far = image(tmp_path / "far.nii.gz", VOLUME, away)
    assert project(far, out, "--mask", given, "--min-coverage", "0") == 1
    assert "none of" in (said := capsys.readouterr().err) and "--inverse-affine" in said
    assert project(far, tmp_path / "out.nii", "--mask", given) == 1
    assert "expected a name that ends in .safetensors" in capsys.readouterr().err
    assert project(far, out) == 1
    assert "no features: expected --mask, --parcels, --cifti" in capsys.readouterr().err


def test_a_run_serves_as_reference_and_points_outside_of_a_warp_have_no_support(
    tmp_path: Path,
) -> None:
    run = image(tmp_path / "run.nii.gz", np.repeat(VOLUME[..., None], 2, axis=3))
    mask = np.zeros(MATRIX, np.uint8)
    mask[2:7, 4, 3] = 1
    given = image(tmp_path / "mask.nii.gz", mask)
    part = image(tmp_path / "warp.nii.gz", np.zeros((5, 8, 7, 3)), AFFINE)
    out = tmp_path / "out.safetensors"
    assert project(run, out, "--mask", given, "--warp-ras", part, "--min-coverage", ".6") == 0
    assert Projected(out).report["coverage"]["without_support"] == ["3", "4"]
