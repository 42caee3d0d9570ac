r"""Realigns, reslices and smooths volumes of 74x74x36 with known motion: ours beside python-rtspm.

    python tests/benches/motion.py --build target/release --folder FOLDER \
        [--head HEAD.nii.gz] [--rtspm PYTHON]

The head is simulated, or `--head` is an image of one. It is moved by up to 5 mm and 3 degrees, the
first half of the volumes by a tenth of that, with noise at a tSNR of 50. Prints one line of JSON
for each program: median and p99 per volume in ms after the first volume, and the r.m.s. error of
the motion at the middle of the head. `--rtspm` is a Python that has python-rtspm (for example
python-rtspm 0.2.18 and nibabel in a virtual environment); without it only ours is measured.
"""

import argparse
import json
import re
import subprocess
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

Array = NDArray[np.float64]

MATRIX = (74, 74, 36)
MM = 3.0
MIDDLE_MM = np.array([0.0, -5.0, 5.0])
N_VOLUME = 120
TSNR = 50.0
SMOOTH_MM = 6.0

RTSPM = """
import json, sys, time
import nibabel, numpy as np
from rtspm import spm_realign_rt, spm_reslice_rt, spm_smooth
image = nibabel.load(sys.argv[1])
data = image.get_fdata()
mat = image.affine.copy()
mat[:3, 3] -= mat[:3, :3] @ np.ones(3)
dim = np.array(data.shape[:3])
wrap = np.zeros((3, 1))
estimate = {"quality": 0.9, "fwhm": 5, "sep": 4, "interp": 2, "wrap": wrap, "rtm": 0, "PW": "",
            "lkp": np.arange(6)}
reslice = {"quality": 0.9, "fwhm": 5, "sep": 4, "interp": 4, "wrap": wrap, "mask": 0, "mean": 0,
           "which": 2}
volume = lambda t: {"mat": mat.copy(), "dim": dim, "Vol": np.array(data[..., t], order="F")}
images, state = [volume(0), None], [[]] * 6
motion, took = [], []
for t in range(data.shape[3]):
    images[1] = volume(t)
    started = time.perf_counter()
    images, *state, _ = spm_realign_rt(images, estimate, t, 0, *state)
    resliced = spm_reslice_rt(images, reslice)
    spm_smooth(resliced, np.full(3, float(sys.argv[2])))
    took.append(1e3 * (time.perf_counter() - started))
    motion.append((images[1]["mat"] @ np.linalg.inv(mat)).tolist())
print(json.dumps({"motion": motion, "took_ms": took}))
"""


def rotation(radians: Array) -> Array:
    """Rx Ry Rz, right-handed."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(radians), np.sin(radians)
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    product: Array = x @ y @ z
    return product


def rigid(translation_mm: Array, radians: Array) -> Array:
    """The transform whose rotation is about the middle of the head."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(radians)
    matrix[:3, 3] = translation_mm + MIDDLE_MM - matrix[:3, :3] @ MIDDLE_MM
    return matrix


def head(path: Path | None, affine: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Signal and affine of a head."""
    if path is not None:
        image = nibabel.load(path)
        return image.get_fdata().reshape(image.shape[:3]), image.affine
    grid = np.stack(np.indices(MATRIX), -1) @ affine[:3, :3].T + affine[:3, 3] - MIDDLE_MM
    radius = np.sqrt(((grid / [68.0, 85.0, 50.0]) ** 2).sum(-1))
    folds = gaussian_filter(rng.normal(size=MATRIX), 1.5)
    signal = np.where(radius < 1.0, 800.0 + 250.0 * folds / folds.std(), 20.0)
    return gaussian_filter(signal, 0.8), affine


def series(path: Path | None, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Volumes [x, y, z, t], their affine, and the true motion of each volume [t, 4, 4]."""
    affine = np.diag([-MM, MM, MM, 1.0])
    affine[:3, 3] = [111.0, -111.0, -48.0]
    still, own = head(path, affine, rng)
    translation = rng.uniform(-5.0, 5.0, (N_VOLUME, 3))
    radians = np.deg2rad(rng.uniform(-3.0, 3.0, (N_VOLUME, 3)))
    translation[: N_VOLUME // 2] *= 0.1
    radians[: N_VOLUME // 2] *= 0.1
    translation[0] = radians[0] = 0.0
    motion = np.stack([rigid(*pair) for pair in zip(translation, radians, strict=True)])
    volumes = np.empty((*MATRIX, N_VOLUME), dtype=np.float32)
    for t, transform in enumerate(motion):
        place = np.linalg.inv(own) @ transform @ affine
        volumes[..., t] = affine_transform(
            still, place[:3, :3], place[:3, 3], output_shape=MATRIX, order=5, mode="nearest"
        )
    signal = volumes[..., 0][volumes[..., 0] > 0.3 * volumes[..., 0].max()].mean()
    volumes += rng.normal(0.0, signal / TSNR, volumes.shape).astype(np.float32)
    return np.maximum(volumes, 0.0), affine, motion


def error(found: Array, true: Array) -> dict[str, float]:
    """R.m.s. error over volumes: mm at the middle of the head along an axis, degrees."""
    middle = np.append(MIDDLE_MM, 1.0)
    shift = (found @ middle - true @ middle)[:, :3]
    turn = np.swapaxes(found[:, :3, :3], 1, 2) @ true[:, :3, :3]
    cosine = np.clip((np.trace(turn, axis1=1, axis2=2) - 1.0) / 2.0, -1.0, 1.0)
    degrees = np.rad2deg(np.arccos(cosine))
    return {
        "rms_mm": float(np.sqrt((shift**2).mean())),
        "rms_degrees": float(np.sqrt((degrees**2).mean())),
    }


def main() -> None:
    """Measures both programs on one series."""
    parser = argparse.ArgumentParser(description="Motion correction, ours beside python-rtspm.")
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--head", type=Path)
    parser.add_argument("--rtspm", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    volumes, affine, true = series(args.head, np.random.default_rng(1))
    bold, table = args.folder / "bold.nii", args.folder / "motion.tsv"
    image = nibabel.Nifti1Image(volumes, affine)
    image.header.set_zooms((MM, MM, MM, 2.0))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, bold)

    command = [args.build / "corticast", "motion", bold, "--out", table]
    command += ["--smooth", str(SMOOTH_MM)]
    ran = subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True
    )
    times = re.search(r"median ([\d.]+) ms, p99 ([\d.]+) ms", ran.stdout)
    assert times is not None, ran.stdout
    rows = np.loadtxt(table, skiprows=1)
    found = np.stack([np.eye(4)] * len(rows))
    for transform, row in zip(found, rows, strict=True):
        transform[:3, :3], transform[:3, 3] = rotation(row[3:]), row[:3]
    ours = {"program": "corticast", "median_ms": float(times[1]), "p99_ms": float(times[2])}
    print(json.dumps(ours | error(found, true)), flush=True)

    if args.rtspm is not None:
        command = [args.rtspm, "-c", RTSPM, bold, SMOOTH_MM]
        ran = subprocess.run(
            [str(part) for part in command], check=True, capture_output=True, text=True
        )
        said = json.loads(ran.stdout.splitlines()[-1])
        took = np.array(said["took_ms"][1:])
        theirs = {
            "program": "python-rtspm",
            "median_ms": float(np.median(took)),
            "p99_ms": float(np.percentile(took, 99)),
        }
        print(json.dumps(theirs | error(np.array(said["motion"]), true)), flush=True)


if __name__ == "__main__":
    main()
