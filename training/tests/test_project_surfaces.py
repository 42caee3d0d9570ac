import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from projecting import AFFINE, MATRIX, Projected, image, oblique, project, surface

cifti2: Any = nibabel.cifti2  # its classes carry no types
RNG = np.random.default_rng(12)
VOLUME = RNG.normal(1000, 100, MATRIX).astype(np.float32)
LEFT, RIGHT = "CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT"
N_LEFT, N_RIGHT = 20, 15


def vertices(n: int, low: float = 1.0, high: float = 5.0) -> NDArray[np.float64]:
    """Points between these voxel indices, in mm, as GIFTI stores them: f32."""
    points = apply_affine(AFFINE, RNG.uniform(low, high, (n, 3)))
    return np.asarray(points, np.float32).astype(np.float64)


def scipys(points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    voxels = apply_affine(np.linalg.inv(AFFINE), points_mm)
    found = map_coordinates(VOLUME.astype(np.float64), voxels.T, order=1, mode="nearest")
    assert isinstance(found, np.ndarray)
    return found


@pytest.fixture
def today(tmp_path: Path) -> Path:
    return image(tmp_path / "today.nii.gz", VOLUME)


class Pair:
    """A left and a right surface."""

    def __init__(self, folder: Path) -> None:
        self.left, self.right = vertices(N_LEFT), vertices(N_RIGHT)
        self.files = [
            surface(folder / "L.surf.gii", self.left, "CortexLeft"),
            surface(folder / "R.surf.gii", self.right, "CortexRight"),
        ]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_vertices_are_interpolated_as_scipy_does_left_before_right(
    today: Path, tmp_path: Path, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    assert project(today, out, "--surface", *pair.files) == 0
    found = Projected(out)
    both = np.concatenate([pair.left, pair.right])
    np.testing.assert_allclose(found.of(VOLUME), scipys(both), rtol=1e-5)
    assert found.metadata["kind"] == "vertices"
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1][:2] == ["cortex_left", "20"] and lines[2][:2] == ["cortex_right", "15"]
    assert lines[3][:2] == ["vertices", "35"]


def test_with_pial_surfaces_vertices_lie_half_way(today: Path, tmp_path: Path, pair: Pair) -> None:
    outer = pair.left + np.float32(0.5)
    pial = surface(tmp_path / "lh.pial.surf.gii", outer, "CortexLeft")
    out = tmp_path / "out.safetensors"
    assert project(today, out, "--surface", pair.files[0], "--pial", pial) == 0
    expected = scipys((pair.left + np.asarray(outer, np.float32)) / 2)
    np.testing.assert_allclose(Projected(out).of(VOLUME), expected, rtol=1e-5)


def test_freesurfers_own_coordinates_are_brought_to_the_scanner_or_warned_about(
    today: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = vertices(6, 2, 4)
    centre = {"VolGeomC_R": "0.5", "VolGeomC_A": "-1.0", "VolGeomC_S": "0.25"}
    path = surface(tmp_path / "lh.surf.gii", points, "CortexLeft", **centre)
    out = tmp_path / "out.safetensors"
    assert project(today, out, "--surface", path) == 0
    assert "names a centre of 0.500, -1.000, 0.250 mm (VolGeomC)" in capsys.readouterr().out
    np.testing.assert_allclose(Projected(out).of(VOLUME), scipys(points), rtol=1e-5)
    # A file with the matrix to the scanner's space: it is applied, and nothing is left to say.
    read: Any = nibabel.load(path)
    to_scanner = np.eye(4)
    to_scanner[:3, 3] = [0.5, -1.0, 0.25]
    read.darrays[0].coordsys.xformspace = 1  # NIFTI_XFORM_SCANNER_ANAT
    read.darrays[0].coordsys.xform = to_scanner
    nibabel.save(read, path)
    assert project(today, out, "--surface", path) == 0
    assert "VolGeomC" not in capsys.readouterr().out
    moved = apply_affine(to_scanner, points)
    np.testing.assert_allclose(Projected(out).of(VOLUME), scipys(moved), rtol=1e-5)


USED_LEFT, USED_RIGHT = np.array([0, 3, 4, 9, 19]), np.array([1, 2, 14])
VOXEL_AFFINE = oblique()
INSIDE = np.zeros((6, 5, 4), bool)
INSIDE[2:4, 2:4, 1:3] = True


def models() -> Any:
    """Vertices of both hemispheres, the medial wall left out, and voxels of a nucleus."""
    left = cifti2.BrainModelAxis.from_surface(USED_LEFT, N_LEFT, name=LEFT)
    right = cifti2.BrainModelAxis.from_surface(USED_RIGHT, N_RIGHT, name=RIGHT)
    deep = cifti2.BrainModelAxis.from_mask(
        INSIDE, name="CIFTI_STRUCTURE_THALAMUS_LEFT", affine=VOXEL_AFFINE
    )
    return left + right + deep


def points_of_models(pair: Pair) -> NDArray[np.float64]:
    deep = apply_affine(VOXEL_AFFINE, np.argwhere(INSIDE))
    return np.concatenate([pair.left[USED_LEFT], pair.right[USED_RIGHT], deep])


def save(path: Path, values: NDArray[Any], *axes: Any) -> Path:
    make: Any = nibabel.Cifti2Image
    nibabel.save(make(values.astype(np.float32), header=axes), path)
    return path


def scalars(path: Path) -> Path:
    axis = models()
    return save(path, np.zeros((1, len(axis))), cifti2.ScalarAxis(["map"]), axis)


def labels(path: Path, keys: NDArray[np.int64], n_map: int = 1) -> Path:
    table = {0: ("???", (0, 0, 0, 0)), 2: ("V1", (1, 0, 0, 1)), 5: ("LGN", (0, 1, 0, 1))}
    names = [f"map {number}" for number in range(n_map)]
    values = np.repeat(keys[None], n_map, axis=0)
    return save(path, values, cifti2.LabelAxis(names, [table] * n_map), models())


def test_grayordinates_come_in_the_order_of_the_file(
    today: Path, tmp_path: Path, pair: Pair
) -> None:
    given = scalars(tmp_path / "map.dscalar.nii")
    out = tmp_path / "out.safetensors"
    # The order of the surfaces on the command line does not matter: they say which they are.
    assert project(today, out, "--cifti", given, "--surface", *reversed(pair.files)) == 0
    found = Projected(out)
    np.testing.assert_allclose(found.of(VOLUME), scipys(points_of_models(pair)), rtol=1e-5)
    groups = [(group["name"], group["n_feature"]) for group in found.report["coverage"]["groups"]]
    assert groups == [(LEFT, 5), (RIGHT, 3), ("CIFTI_STRUCTURE_THALAMUS_LEFT", 8)]


def test_labels_of_grayordinates_become_named_means(
    today: Path, tmp_path: Path, pair: Pair
) -> None:
    keys = np.array([2, 2, 0, 5, 2, 0, 2, 0, *[5] * 8])
    given = labels(tmp_path / "atlas.dlabel.nii", keys)
    out = tmp_path / "out.safetensors"
    assert project(today, out, "--parcels", given, "--surface", *pair.files) == 0
    found = Projected(out)
    values = scipys(points_of_models(pair))
    expected = [values[keys == 2].mean(), values[keys == 5].mean()]
    np.testing.assert_allclose(found.of(VOLUME), expected, rtol=1e-5)
    assert found.metadata["kind"] == "parcels"


def parcels(path: Path) -> Path:
    voxels = np.argwhere(INSIDE)
    axis = cifti2.ParcelsAxis(
        ["first", "second"],
        [voxels[:3], np.zeros((0, 3), int)],
        [{LEFT: np.array([3, 4])}, {RIGHT: np.array([1, 2, 14]), LEFT: np.array([0])}],
        VOXEL_AFFINE,
        INSIDE.shape,
        {LEFT: N_LEFT, RIGHT: N_RIGHT},
    )
    return save(path, np.zeros((1, 2)), cifti2.ScalarAxis(["map"]), axis)


def test_parcels_of_voxels_and_vertices_are_means_of_both(
    today: Path, tmp_path: Path, pair: Pair
) -> None:
    given = parcels(tmp_path / "map.pscalar.nii")
    out = tmp_path / "out.safetensors"
    assert project(today, out, "--cifti", given, "--surface", *pair.files) == 0
    deep = apply_affine(VOXEL_AFFINE, np.argwhere(INSIDE)[:3])
    first = scipys(np.concatenate([deep, pair.left[[3, 4]]])).mean()
    second = scipys(np.concatenate([pair.right[[1, 2, 14]], pair.left[[0]]])).mean()
    np.testing.assert_allclose(Projected(out).of(VOLUME), [first, second], rtol=1e-5)


def test_a_parcel_without_support_is_named(
    today: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = apply_affine(AFFINE, np.full((N_LEFT, 3), 3.0))
    left[19] += 1000
    pair = Pair(tmp_path)
    files = [surface(tmp_path / "far.surf.gii", left, "CortexLeft"), pair.files[1]]
    keys = np.array([2, 2, 2, 2, 5, *[0] * 11])
    given = labels(tmp_path / "atlas.dlabel.nii", keys)
    words: list[str | Path] = ["--parcels", given, "--surface", *files]
    out = tmp_path / "out.safetensors"
    assert project(today, out, *words) == 1
    assert "1 of 2 features lie outside of today's field of view (LGN)" in capsys.readouterr().err
    assert project(today, out, *words, "--min-coverage", "0.5") == 0
    assert json.loads(Projected(out).metadata["coverage"])["without_support"] == ["LGN"]


Words = Callable[[Path, Pair], list[str | Path]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            lambda folder, pair: ["--cifti", scalars(folder / "a.dscalar.nii")],
            f"has vertices of {LEFT}, and 0 of the surfaces are of it (none), expected 1",
        ),
        (
            lambda folder, pair: [
                *("--cifti", scalars(folder / "a.dscalar.nii"), "--surface", pair.files[0]),
                surface(folder / "x.surf.gii", pair.right, None),
            ],
            f"has vertices of {RIGHT}, and 0 of the surfaces are of it",
        ),
        (
            lambda folder, pair: [
                *("--cifti", scalars(folder / "a.dscalar.nii"), "--surface", pair.files[1]),
                surface(folder / "x.surf.gii", pair.left[:10], "CortexLeft"),
            ],
            "10 vertices, expected the 20 that",
        ),
        (
            lambda folder, pair: [
                *("--parcels", labels(folder / "a.dlabel.nii", np.ones(16, np.int64), 2)),
                *("--surface", *pair.files),
            ],
            "2 maps (map 0, map 1), expected 1",
        ),
        (
            lambda folder, pair: [
                *("--parcels", labels(folder / "a.dlabel.nii", np.zeros(16, np.int64))),
                *("--surface", *pair.files),
            ],
            "every label is 0, expected labels of parcels",
        ),
        (
            lambda folder, pair: [
                *("--parcels", scalars(folder / "a.dscalar.nii"), "--surface", *pair.files)
            ],
            "has axes ScalarAxis, BrainModelAxis, expected labels of brain models, .dlabel.nii",
        ),
        (
            lambda folder, pair: [
                *("--surface", *pair.files, "--pial", pair.files[0]),
            ],
            "1 pial surfaces, expected 2: one for each --surface",
        ),
        (
            lambda folder, pair: [
                *("--surface", *pair.files, "--pial", *reversed(pair.files)),
            ],
            "15 vertices, expected the 20 of",
        ),
        (
            lambda folder, pair: ["--pial", *pair.files],
            "no features: expected --mask, --parcels, --cifti or --surface",
        ),
        (
            lambda folder, pair: [
                *("--mask", image(folder / "m.nii.gz", np.ones(MATRIX)), "--surface", *pair.files)
            ],
            "which has no vertices: leave it out",
        ),
        (
            lambda folder, pair: ["--surface", image(folder / "m.nii.gz", np.ones(MATRIX))],
            "is Nifti1Image, expected a surface, .surf.gii",
        ),
        (
            lambda folder, pair: ["--surface", values_on_a_surface(folder / "v.func.gii")],
            "0 arrays of points, expected 1; is it a surface",
        ),
    ],
)
def test_bad_surfaces_and_cifti_files_say_what_was_found_and_expected(
    today: Path,
    tmp_path: Path,
    pair: Pair,
    capsys: pytest.CaptureFixture[str],
    words: Words,
    message: str,
) -> None:
    assert project(today, tmp_path / "out.safetensors", *words(tmp_path, pair)) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def values_on_a_surface(path: Path) -> Path:
    gifti: Any = nibabel.gifti
    array = gifti.GiftiDataArray(np.zeros(5, np.float32), "NIFTI_INTENT_NONE")
    nibabel.save(gifti.GiftiImage(darrays=[array]), path)
    return path


def test_damaged_files_end_in_a_message_not_in_a_traceback(
    today: Path, tmp_path: Path, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    given = labels(tmp_path / "a.dlabel.nii", np.full(16, 2))
    named = {"--cifti": scalars(tmp_path / "a.dscalar.nii"), "--parcels": given}
    files = {option: [path] for option, path in named.items()} | {"--surface": pair.files[:1]}
    codes = set()
    for option, (path,) in files.items():
        good = path.read_bytes()
        more: list[str | Path] = [] if option == "--surface" else ["--surface", *pair.files]
        for _ in range(60):
            bad = bytearray(good)
            for _ in range(RNG.integers(1, 20)):
                bad[RNG.integers(min(len(bad), 1500))] = RNG.integers(256)
            path.write_bytes(bad[: len(bad) - RNG.integers(2) * RNG.integers(len(bad))])
            out = tmp_path / "out.safetensors"
            codes.add(project(today, out, option, path, *more, "--min-coverage", "0"))
        path.write_bytes(good)
    assert codes == {0, 1}
    assert "expected a CIFTI file: " in capsys.readouterr().err
