"""The files of the public data set "cc2017" and when its volumes were acquired.

Wen et al. 2018, Cereb. Cortex 28:4136; doi:10.4231/R7SF2TCW (one bundle with the movies, one a
subject), unpacked into one folder:

```text
DIR/stimuli/seg1.mp4 … seg18.mp4, test1.mp4 … test5.mp4
DIR/subject1/fmri/seg1/mni/seg1_1_mni.nii.gz, seg1_2_mni.nii.gz
DIR/subject1/fmri/test1/mni/test1_1_mni.nii.gz … test1_10_mni.nii.gz
```

Every movie lasts 8 min and was framed by 12 s of its first and its last picture. From the data
set's notes and the number of volumes (TR 2 s): in `seg*` and `test1` (245 volumes) recording
began 2 s after the movie, in `test2` to `test5` (246 volumes) with the movie; both end with
the last picture. With the usual delay of 4 s this is what the authors' own scripts take: they drop
the first 1 or 2 volumes and the last 4. In session test2_9 of subject 3 recording was about 10 s
late, so its true offset is estimated from the data.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.choices import CC2017_TEST_REPEATS
from corticast_training.data.nifti import open_image
from corticast_training.errors import TrainingError

REPETITION_TIME_S = 2.0
CLIP_S = 2.0
HRF_DELAY_S = 4.0
N_FRAME = 6
SUBJECTS = (1, 2, 3)
SEGMENTS = {"train": 18, "test": 5}
REPEATS = {"train": 2, "test": CC2017_TEST_REPEATS}
NAMES = {"train": "seg", "test": "test"}
TAIL_VOLUMES = 6
"""Of the last picture, 12 s."""
LATE = (3, "test", 2, 9)
"""Subject, split, segment and repeat of the session with the late recording."""
LATE_VOLUMES = 8
"""How far its offset is looked for, to both sides."""


@dataclass(frozen=True)
class Source:
    """The unpacked folder."""

    folder: Path

    def movie(self, split: str, segment: int) -> Path:
        """Movie of a segment."""
        return self.folder / "stimuli" / f"{NAMES[split]}{segment}.mp4"

    def bold(self, subject: int, split: str, segment: int, repeat: int) -> Path:
        """Volumes of a run in MNI space; one file of the public bundle is misspelt."""
        name = f"{NAMES[split]}{segment}"
        folder = self.folder / f"subject{subject}" / "fmri" / name / "mni"
        path = folder / f"{name}_{repeat}_mni.nii.gz"
        misspelt = folder / f"{name}_{repeat}.mni.nii.gz"
        return misspelt if misspelt.is_file() and not path.is_file() else path


def find_source(folder: Path) -> Source:
    """The folder with `stimuli`: `folder` or `video_fmri_dataset` in it."""
    for place in (folder, folder / "video_fmri_dataset"):
        if (place / "stimuli").is_dir():
            return Source(place)
    raise TrainingError(
        f"{folder}: no folder `stimuli` in it, expected stimuli/ and subject1/ … side by side: "
        "unpack the bundles of the movies and of the subjects into one folder"
    )


def require(files: Iterable[Path]) -> None:
    """Raises `TrainingError` that lists every file that is not there."""
    missing = [path for path in files if not path.is_file()]
    if missing:
        listed = "\n  ".join(str(path) for path in missing)
        raise TrainingError(
            f"{len(missing)} files are missing (--subjects, --segments and --test-segments take "
            f"a part of the data set):\n  {listed}"
        )


def start_volumes(split: str, segment: int) -> int:
    """TRs of the movie that had passed when recording began."""
    return 0 if split == "test" and segment > 1 else 1


def onset_s(split: str, segment: int, index: int) -> float:
    """Onset of clip `index` since the first volume; the first clip of most runs began before."""
    return index * CLIP_S - start_volumes(split, segment) * REPETITION_TIME_S


def check_run(
    path: Path, matrix: tuple[int, ...] | None, n_clip: int, start: int
) -> tuple[int, ...]:
    """Checks the shape of a run's file without reading its voxels. Returns its matrix."""
    shape = open_image(path).shape
    if len(shape) != 4:
        raise TrainingError(f"{path}: shape is {list(shape)}, expected [X, Y, Z, n_volume]")
    expected = n_clip + TAIL_VOLUMES - start
    if shape[3] != expected:
        raise TrainingError(f"{path}: {shape[3]} volumes, expected {expected}")
    found = tuple(int(n) for n in shape[:3])
    if matrix is not None and found != matrix:
        raise TrainingError(
            f"{path}: matrix is {list(found)}, the subject's first run has {list(matrix)}"
        )
    return found


def late_volumes(run: NDArray[np.float32], mean: NDArray[np.float32]) -> tuple[int, float, float]:
    """By how many volumes `run` began later than `mean`, both `[V, n_volume]`.

    The shift with the largest mean correlation over voxels. Returns the shift, that correlation,
    and the one without a shift.
    """
    scores = {}
    for shift in range(-LATE_VOLUMES, LATE_VOLUMES + 1):
        first, last = max(0, shift), min(mean.shape[1], run.shape[1] + shift)
        scores[shift] = _mean_r(run[:, first - shift : last - shift], mean[:, first:last])
    best = max(scores, key=lambda shift: scores[shift])
    return best, scores[best], scores[0]


def _mean_r(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    used = norm > 0
    return float(((a * b).sum(axis=1)[used] / norm[used]).mean()) if used.any() else 0.0
