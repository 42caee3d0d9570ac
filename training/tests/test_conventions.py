"""Every claim of docs/conventions.md against the package that it is about.

The packages are not in the development set: nipype and nilearn bring half a hundred others. Without
them these tests are skipped, with a warning that says how to install them.
"""

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from corticast_training.conventions.basis import (
    cosine_drift,
    n_cosine,
    nilearn_response,
    spm_response,
)
from corticast_training.conventions.motion import (
    SPM_SIGNS,
    about,
    from_afni,
    from_fsl,
    from_mcflirt_par,
    from_spm,
    fsl_coordinates,
    matrix_to_motion,
    motion_to_matrix,
    to_afni,
    to_fsl,
    to_mcflirt_par,
    to_spm,
)
from corticast_training.conventions.quality import (
    dvars,
    framewise_displacement,
    from_nipype_dvars,
    tsnr,
)
from corticast_training.data.nifti import read_map
from projecting import AFFINE, MATRIX, image

RNG = np.random.default_rng(21)
MOTIONS = RNG.normal(size=(20, 6)) * [5, 5, 5, 0.1, 0.1, 0.1]
FLIPPED = AFFINE @ np.diag([-1.0, 1, 1, 1])
"""A positive determinant, where FSL counts x from the other end."""
INSTALL = "nipype==1.11.0 nitime==0.12.1 nilearn==0.14.1 nitransforms==25.1.0 python-rtspm==0.2.18"


def package(name: str) -> Any:
    """A module of a package that is compared with."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        said = f"not compared with {name}: {error}; .venv/bin/pip install {INSTALL}"
        warnings.warn(said, stacklevel=2)
        pytest.skip(said)


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_matrix_holds_the_parameters_it_was_made_of(motion: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(matrix_to_motion(motion_to_matrix(motion)), motion, atol=1e-12)


def test_a_quarter_turn_is_right_handed_and_x_is_applied_last() -> None:
    quarter = np.pi / 2
    about_z = motion_to_matrix((0, 0, 0, 0, 0, quarter))
    np.testing.assert_allclose(about_z @ [1, 0, 0, 1], [0, 1, 0, 1], atol=1e-12)
    both = motion_to_matrix((0, 0, 0, quarter, 0, quarter))  # z first: x to y, then x: y to z
    np.testing.assert_allclose(both @ [1, 0, 0, 1], [0, 0, 1, 1], atol=1e-12)


def test_what_is_not_rigid_has_no_parameters() -> None:
    with pytest.raises(ValueError, match="expected a rigid transform"):
        matrix_to_motion(np.diag([1.1, 1, 1, 1]))
    with pytest.raises(ValueError, match="expected a rigid transform"):
        matrix_to_motion(np.diag([-1.0, 1, 1, 1]))


def test_spm_turns_about_x_and_z_the_other_way() -> None:
    rtspm = package("rtspm")
    for motion in MOTIONS:
        np.testing.assert_allclose(rtspm.spm_matrix(to_spm(motion)), motion_to_matrix(motion))
        found = rtspm.spm_imatrix(motion_to_matrix(motion))[:6]
        np.testing.assert_allclose(from_spm(found), motion, atol=1e-12)
    np.testing.assert_array_equal(from_spm(to_spm(MOTIONS)), MOTIONS)


def blobs(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A head of five blobs, at points in mm."""
    centres = [(5, 8, -3), (-14, -6, 10), (10, -20, -12), (-5, 18, 14), (20, 4, 8)]
    found = np.full(len(points), 20.0)
    for centre, width, height in zip(
        centres, (9, 7, 8, 6, 7), (900, 700, 600, 800, 500), strict=True
    ):
        found += height * np.exp(-np.square(points - centre).sum(axis=1) / (2 * width**2))
    return found


def test_spm_finds_the_transform_from_a_volume_to_the_reference() -> None:
    """The direction, the axes and the origin: SPM's estimate of a motion that is known."""
    rtspm = package("rtspm")
    shape = (32, 30, 24)
    affine = np.array([[-3.0, 0, 0, 46.5], [0, 3, 0, -43.5], [0, 0, 3.5, -40], [0, 0, 0, 1]])
    at = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    points = at @ affine[:3, :3].T + affine[:3, 3]
    motion = np.array([1.2, -0.8, 0.9, 0.03, -0.02, 0.04])
    matrix = motion_to_matrix(motion)
    moved = points @ matrix[:3, :3].T + matrix[:3, 3]
    from_one = np.eye(4)
    from_one[:3, 3] = -1  # SPM counts voxels from 1

    def volume(values: NDArray[np.float64]) -> dict[str, Any]:
        stored = np.asfortranarray(values.reshape(shape))
        return {"mat": affine @ from_one, "dim": np.array(shape), "Vol": stored}

    flags: dict[str, Any] = {"fwhm": 5, "sep": 4, "interp": 4, "wrap": np.zeros((3, 1))}
    flags["lkp"] = np.arange(6)
    nothing = [np.array([])] * 6
    pair = [volume(blobs(points)), volume(blobs(points))]
    with np.errstate(all="ignore"):  # 0/0: equal volumes leave nothing
        pair, *held, _ = rtspm.spm_realign_rt(pair, flags, 0, 0, *nothing)
        pair = [pair[0], volume(blobs(moved))]
        for _ in range(3):
            pair, *_ = rtspm.spm_realign_rt(pair, flags, 1, 0, *held)
    rp = rtspm.spm_imatrix(pair[1]["mat"] @ np.linalg.inv(affine @ from_one))[:6]
    np.testing.assert_allclose(from_spm(rp)[:3], motion[:3], atol=5e-3)
    np.testing.assert_allclose(from_spm(rp)[3:], motion[3:], atol=3e-4)


def test_afnis_matrix_leads_from_the_base_to_the_input_in_lps() -> None:
    afni = package("nitransforms.io.afni")
    for motion in MOTIONS:
        matrix = motion_to_matrix(motion)
        row = to_afni(matrix)
        read = afni.AFNILinearTransform.from_string(" ".join(map(repr, row.tolist())))
        # nitransforms resamples: its matrix leads from the reference to the volume.
        np.testing.assert_allclose(read.to_ras(), np.linalg.inv(matrix), atol=1e-9)
        written = afni.AFNILinearTransform.from_ras(np.linalg.inv(matrix))
        np.testing.assert_allclose(row, written["parameters"][:3].reshape(-1), atol=1e-9)
        np.testing.assert_allclose(from_afni(row), matrix, atol=1e-9)


@pytest.mark.parametrize("affine", [AFFINE, FLIPPED], ids=["negative", "positive"])
def test_fsls_matrix_leads_from_the_volume_to_the_reference_in_scaled_voxels(
    tmp_path: Path, affine: NDArray[np.float64]
) -> None:
    fsl = package("nitransforms.io.fsl")
    moving = image(tmp_path / "moving.nii.gz", np.zeros(MATRIX, np.uint8), affine)
    other = AFFINE @ np.diag([0.7, 0.8, 0.9, 1])
    reference = image(tmp_path / "reference.nii.gz", np.zeros((12, 11, 10), np.uint8), other)
    of_moving = fsl_coordinates(MATRIX, affine)
    of_reference = fsl_coordinates((12, 11, 10), other)
    for motion in MOTIONS:
        matrix = motion_to_matrix(motion)
        found = to_fsl(matrix, of_moving, of_reference)
        written = fsl.FSLLinearTransform.from_ras(
            np.linalg.inv(matrix), moving=moving, reference=reference
        )
        np.testing.assert_allclose(found, written["parameters"], atol=1e-4)
        np.testing.assert_allclose(from_fsl(found, of_moving, of_reference), matrix, atol=1e-9)


def test_a_par_of_mcflirt_and_its_matrix_say_the_same() -> None:
    centre = np.array([90.0, 110.0, 60.0])
    scaled = fsl_coordinates(MATRIX, AFFINE)
    for motion in MOTIONS:
        matrix = to_fsl(motion_to_matrix(motion), scaled, scaled)
        par = to_mcflirt_par(matrix, centre)
        np.testing.assert_allclose(from_mcflirt_par(par, centre), matrix, atol=1e-9)
    # By hand: a quarter turn about z takes +y to +x, the other way than ours.
    turn = from_mcflirt_par((0, 0, np.pi / 2, 0, 0, 0), np.zeros(3))
    np.testing.assert_allclose(turn @ [0, 1, 0, 1], [1, 0, 0, 1], atol=1e-12)


def test_about_a_centre_translations_are_what_the_centre_moves_by() -> None:
    centre = np.array([3.0, -20.0, 15.0])
    for motion in MOTIONS:
        matrix = motion_to_matrix(motion)
        found = about(matrix, centre)
        np.testing.assert_allclose((matrix @ [*centre, 1])[:3], centre + found[:3])
        np.testing.assert_allclose(found[3:], motion[3:], atol=1e-12)


def rows_for(source: str) -> NDArray[np.float64]:
    """`MOTIONS` in the columns and units that nipype expects of a package."""
    trans, rot = MOTIONS[:, :3], MOTIONS[:, 3:]
    if source == "FSL":
        return np.hstack([rot, trans])
    if source == "AFNI":  # roll about z, pitch about x, yaw about y, in degrees; dS dL dP
        return np.hstack([np.degrees(rot[:, [2, 0, 1]]), trans[:, [2, 0, 1]]])
    if source == "FSFAST":  # the number of the volume comes first
        return np.hstack([np.arange(len(MOTIONS))[:, None], rows_for("AFNI")])
    return np.hstack([trans, rot])


@pytest.mark.parametrize("source", ["SPM", "FSL", "AFNI", "FSFAST"])
def test_fd_is_nipypes_for_every_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    confounds = package("nipype.algorithms.confounds")
    monkeypatch.chdir(tmp_path)
    np.savetxt("rows.txt", rows_for(source), fmt="%.12g")
    node = confounds.FramewiseDisplacement(in_file="rows.txt", parameter_source=source)
    found = np.loadtxt(node.run().outputs.out_file, skiprows=1)
    expected = framewise_displacement(MOTIONS)
    assert np.isnan(expected[0])
    np.testing.assert_allclose(found, expected[1:], rtol=1e-9)
    np.testing.assert_allclose(framewise_displacement(to_spm(MOTIONS)), expected)
    assert set(SPM_SIGNS) == {1.0, -1.0}


def test_dvars_of_nipype_differs_from_ours_by_the_median(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    confounds = package("nipype.algorithms.confounds")
    monkeypatch.chdir(tmp_path)
    run = RNG.normal(1000, 20, (*MATRIX, 30)) + RNG.normal(0, 100, MATRIX)[..., None]
    run += np.linspace(0, 30, 30)  # so that the median of the run is not that of its beginning
    mask = np.zeros(MATRIX, np.uint8)
    mask[2:7, 2:6, 1:6] = 1
    run = run.astype(np.float32)
    image(Path("run.nii.gz"), run)
    image(Path("mask.nii.gz"), mask)
    standard, nstd, _ = confounds.compute_dvars("run.nii.gz", "mask.nii.gz")
    signal = run[mask > 0].astype(np.float64)
    ours = dvars(signal, 10)
    assert np.isnan(ours[:9]).all()
    np.testing.assert_allclose(from_nipype_dvars(nstd, signal, 10)[8:], ours[9:], rtol=1e-5)
    assert abs(float(np.median(signal)) / 1000 - 1) > 1e-3
    # The standardised one divides by one number: the mean s.d. that the differences would have, of
    # the range of quartiles and of the autocorrelation.
    scaled = signal / np.median(signal) * 1000
    low, high = np.percentile(scaled, [25, 75], axis=1, method="lower")
    centred = scaled - scaled.mean(axis=1, keepdims=True)
    ar1 = (centred[:, 1:] * centred[:, :-1]).sum(axis=1) / np.square(centred).sum(axis=1)
    expected = nstd / (np.sqrt(2 * (1 - ar1)) * (high - low) / 1.349).mean()
    np.testing.assert_allclose(standard, expected, rtol=1e-4)


def test_tsnr_of_nipype_divides_by_n_and_nilearns_z_score_by_n_minus_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    confounds = package("nipype.algorithms.confounds")
    monkeypatch.chdir(tmp_path)
    run = RNG.normal(1000, 20, (*MATRIX, 12)) + np.arange(12) * 5
    image(Path("run.nii.gz"), run)
    confounds.TSNR(in_file="run.nii.gz", regress_poly=1).run()
    found, _ = read_map(Path("tsnr.nii.gz"))
    np.testing.assert_allclose(found.reshape(-1), tsnr(run.reshape(-1, 12)), rtol=1e-4)
    signal = package("nilearn.signal")
    series = run.reshape(-1, 12).T[:, :5]
    z = signal.standardize_signal(series, detrend=False, standardize="zscore_sample")
    np.testing.assert_allclose(z.std(axis=0, ddof=1), 1, rtol=1e-9)


LENGTHS = [(155, 2.0, 128.0), (160, 2.0, 128.0), (100, 1.5, 100.0), (20, 2.0, 128.0)]
"""Volumes, TR and high-pass; the second has exactly five waves."""


@pytest.mark.parametrize(("n_volume", "tr", "high_pass"), LENGTHS)
def test_drifts_are_those_of_nilearn_and_nipype_takes_one_less(
    n_volume: int, tr: float, high_pass: float
) -> None:
    nilearn = package("nilearn.glm.first_level")
    n = n_cosine(n_volume, tr, high_pass)
    # spm_filter.m: fix(2*(k*RT)/HParam + 1), with the constant
    assert n == int(2 * n_volume * tr / high_pass + 1) - 1
    times = np.arange(n_volume) * tr
    design = nilearn.make_first_level_design_matrix(
        times, drift_model="cosine", high_pass=1 / high_pass
    )
    assert list(design.columns) == [*(f"drift_{k}" for k in range(1, n + 1)), "constant"]
    expected = design.to_numpy()[:, :n]
    np.testing.assert_allclose(cosine_drift(n_volume, n), expected, atol=1e-12)
    confounds = package("nipype.algorithms.confounds")
    found = confounds._cosine_drift(high_pass, times)
    np.testing.assert_allclose(found[:, :-1], expected[:, : max(n - 1, 0)], atol=1e-12)
    assert (found[:, -1] == 1).all()


def test_the_response_of_nipype_is_spms_and_nilearns_is_late_by_a_step() -> None:
    modelgen = package("nipype.algorithms.modelgen")
    for tr in (0.8, 2.0, 2.5):
        found = modelgen.spm_hrf(tr)
        ours = spm_response(np.arange(len(found), dtype=np.float64) * tr)
        np.testing.assert_allclose(found, ours / ours.sum(), atol=1e-12)
    nilearn = package("nilearn.glm.first_level")
    for oversampling in (1, 16, 50):
        found = nilearn.spm_hrf(2.0, oversampling)
        np.testing.assert_allclose(found, nilearn_response(2.0, oversampling), atol=1e-12)
    fine = np.linspace(0, 32, 32001)
    assert fine[np.argmax(spm_response(fine))] == pytest.approx(5.0, abs=0.01)


def spline(values: NDArray[np.float64], degree: int, wrap: int) -> NDArray[np.float64]:
    """SPM's coefficients of a spline."""
    rtspm = package("_rtspm")
    kinds = np.array([[degree, wrap]] * 3, float)
    found = rtspm.bsplinc(np.asfortranarray(values), kinds)
    return np.asarray(found, np.float64).reshape(values.shape, order="F")


@pytest.mark.parametrize("degree", [2, 3, 4, 5])
def test_borders_of_spms_splines_are_scipys_mirror(degree: int) -> None:
    values = RNG.normal(size=MATRIX)
    for wrap, mode in ((0, "mirror"), (1, "grid-wrap")):
        expected = ndimage.spline_filter(values, order=degree, mode=mode)
        np.testing.assert_allclose(spline(values, degree, wrap), expected, atol=1e-8)


def test_outside_of_the_volume_spm_gives_nan_and_scipy_mirrors() -> None:
    rtspm = package("_rtspm")
    values = RNG.normal(size=MATRIX)
    points = np.array([[1.3, 2.1, 3.2], [-0.04, 2, 2], [-0.06, 2, 2], [8.04, 2, 2], [8.06, 2, 2]])
    kinds = np.array([[4.0, 0.0]] * 3)
    x, y, z = (np.ascontiguousarray(column + 1) for column in points.T)  # SPM counts from 1
    coefficients = np.asfortranarray(spline(values, 4, 0))
    found = np.asarray(rtspm.bsplins(coefficients, x, y, z, kinds))
    expected = ndimage.map_coordinates(values, points.T, order=4, mode="mirror")
    inside = np.array([True, True, False, True, False])
    assert np.isfinite(found).tolist() == inside.tolist()
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-8)
