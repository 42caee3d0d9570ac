"""The time courses of the repeats of one segment, at the volumes that answer its clips."""

import numpy as np
from numpy.typing import NDArray

from corticast_training.data.events import read_events
from corticast_training.data.layout import RunName
from corticast_training.data.movie import Movie
from corticast_training.data.nifti import read_map, read_volumes
from corticast_training.errors import TrainingError


def brain_of(movie: Movie, subject: str) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """The brain mask `[X, Y, Z]` of a subject and its affine."""
    if subject not in movie.facts.subjects:
        known = ", ".join(movie.facts.subjects)
        raise TrainingError(f"{movie.folder}: no subject {subject!r}, it has {known}")
    path = movie.layout.brain_mask(subject)
    values, affine = read_map(path)
    inside = np.isfinite(values) & (values != 0)
    if not inside.any():
        raise TrainingError(f"{path}: no voxel is inside")
    return inside, affine


def runs_of(movie: Movie, subject: str, split: str) -> list[list[RunName]]:
    """The runs of a split, a list a segment, one run a repeat. All of them have to be there."""
    n_repeat = movie.facts.repeats[split]
    segments = sorted({clip.segment for clip in movie.clips(split)})
    names = [
        [RunName(subject, split, segment, repeat + 1) for repeat in range(n_repeat)]
        for segment in segments
    ]
    files = [movie.layout.bold(run) for segment in names for run in segment]
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise TrainingError(
            f"{len(missing)} of {len(files)} runs are missing: " + ", ".join(missing[:5])
        )
    return names


def time_courses(
    movie: Movie, runs: list[RunName], inside: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Scanner units `[n_repeat, n, V]` of the repeats of one segment.

    Row k of every repeat answers the same clip: the volume nearest to the clip's onset plus the
    data set's HRF delay. Clips whose volume some repeat lacks are left out. Voxels are in
    the order of `volume[inside]`; one that is not finite in some volume of a run, whether it
    answers a clip or not, is NaN in all of that run.
    """
    tr_s, delay_s = movie.facts.repetition_time_s, movie.facts.hrf_delay_s
    found: list[dict[str, NDArray[np.float32]]] = []
    for run in runs:
        path = movie.layout.bold(run)
        volumes = read_volumes(path)
        if volumes.shape[:3] != inside.shape:
            raise TrainingError(
                f"{path}: matrix is {list(volumes.shape[:3])}, the brain mask's is "
                f"{list(inside.shape)}"
            )
        series = volumes[inside].T
        series[:, ~np.isfinite(series).all(axis=0)] = np.nan
        names, onsets = read_events(movie.layout.events(run))
        at = np.rint((onsets + delay_s) / tr_s).astype(int)
        found.append(
            {name: series[k] for name, k in zip(names, at, strict=True) if 0 <= k < len(series)}
        )
    shared = [name for name in found[0] if all(name in other for other in found[1:])]
    if not shared:
        raise TrainingError(
            f"{movie.layout.bold(runs[0])}: no clip has a volume in every repeat of its segment"
        )
    return np.stack([np.stack([one[name] for name in shared]) for one in found])
