"""A subject's brain: its place, the voxels that respond, and the features they respond to.

The informative voxels lie at the back of an ellipsoid. Their areas follow one another from
back to front: early (receptive fields on luminance, colour and contrast), motion (above),
position (of the key object), meaning (below and further ahead). Receptive fields are laid out
as in visual cortex: the right half of the brain sees the left half of the picture, upside down,
with jitter. Every voxel's response is standardised and compressed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corticast_training.synth.features import EARLY, MAP, MOTION, POSITION, Seen, meanings
from corticast_training.synth.shapes import Array

HEAD_MM = (160.0, 200.0, 140.0)
"""Field of view; the brain's half axes are `BRAIN` of it."""
BRAIN = 0.4
INFORMATIVE = 1 / 3
AREAS = ("none", "early", "motion", "position", "meaning")
SHARES = (0.38, 0.16, 0.16, 0.30)
"""Of the informative voxels, from `early` on."""
MEANING_LABELS = 6
"""Labels that a voxel of meaning is tuned to."""
COMPRESSION = 1.5
"""S.d. beyond which an answer saturates."""


@dataclass(frozen=True)
class Brain:
    """One subject. V counts the voxels of `mask` in the order of numpy's `mask[mask > 0]`."""

    mask: NDArray[np.uint8]
    """`[X, Y, Z]`"""
    affine: NDArray[np.float64]
    area: NDArray[np.int64]
    """`[V]`: position in AREAS."""
    field: Array
    """`[V, 4]`: x, y (canvas widths), s.d. of the receptive field, map; 0 where there is none."""
    hrf_peak_s: NDArray[np.float64]
    """`[V]`"""
    noise: Array
    """`[V]`: s.d. of the noise over that of the signal."""
    baseline: Array
    """`[V]`, scanner units."""
    seed: tuple[int, ...]


def make_brain(matrix: tuple[int, int, int], noise: float, seed: tuple[int, ...]) -> Brain:
    """Draws a subject."""
    rng = np.random.default_rng([*seed, 0])
    size = np.array(HEAD_MM) / np.array(matrix)
    affine = np.diag([*size, 1.0])
    affine[:3, 3] = -size * (np.array(matrix) - 1) / 2
    index = np.stack(np.meshgrid(*(np.arange(n) for n in matrix), indexing="ij"), axis=-1)
    place = (index - (np.array(matrix) - 1) / 2) / (np.array(matrix) * BRAIN)
    mask = ((place**2).sum(axis=-1) <= 1).astype(np.uint8)
    at = place[mask > 0]
    n_voxel = len(at)

    # x to the right, y to the front, z up: the back is where y is smallest.
    front = at[:, 1] + 0.12 * np.abs(at[:, 0]) + rng.normal(0, 0.08, n_voxel)
    informative = np.argsort(front, kind="stable")[: round(n_voxel * INFORMATIVE)]
    area = np.zeros(n_voxel, np.int64)
    n_early, n_motion, n_position = (round(len(informative) * share) for share in SHARES[:3])
    area[informative[:n_early]] = 1
    ahead = informative[n_early:]
    ahead = ahead[np.argsort(-at[ahead, 2] + rng.normal(0, 0.15, len(ahead)), kind="stable")]
    area[ahead[:n_motion]] = 2
    area[ahead[n_motion : n_motion + n_position]] = 3
    area[ahead[n_motion + n_position :]] = 4

    field = np.zeros((n_voxel, 4), np.float32)
    spread = rng.normal(0, 0.16, (n_voxel, 2))
    field[:, 0] = np.clip(0.5 - 0.6 * at[:, 0] + spread[:, 0], 0.02, 0.98)
    field[:, 1] = np.clip(0.5 + 0.6 * at[:, 2] + spread[:, 1], 0.02, 0.98)
    # Upside down, and stretched so that the whole picture is seen whatever the area's height.
    for number in (1, 2, 3):
        here = np.flatnonzero(area == number)
        order = np.argsort(field[here, 1], kind="stable")
        field[here[order], 1] = np.linspace(0.05, 0.95, len(here))
    field[:, 2] = rng.uniform(0.05, 0.12, n_voxel)
    maps = {1: (0, len(EARLY)), 2: (len(EARLY), len(MOTION)), 3: (len(EARLY) + len(MOTION), 1)}
    for number, (first, count) in maps.items():
        here = area == number
        field[here, 3] = first + rng.integers(0, count, int(here.sum()))
    field[(area == 0) | (area == 4)] = 0

    peak = 4.1 + rng.uniform(-0.1, 0.1) + rng.normal(0, 0.35, n_voxel)
    return Brain(
        mask=mask,
        affine=affine,
        area=area,
        field=field,
        hrf_peak_s=peak,
        noise=(noise * np.exp(rng.normal(0, 0.3, n_voxel))).astype(np.float32),
        baseline=(1000 + 120 * at[:, 2] + rng.normal(0, 60, n_voxel)).astype(np.float32),
        seed=seed,
    )


def responses(brain: Brain, seen: list[Seen], n_train: int) -> Array:
    """The response of each voxel to each clip, `[n, V]`.

    Mean 0 and s.d. 1 over the first `n_train` clips; 0 in voxels that do not respond.
    """
    rng = np.random.default_rng([*brain.seed, 1])
    maps = np.stack([each.maps for each in seen]).reshape(len(seen), -1, MAP * MAP)
    answers = np.zeros((len(seen), len(brain.area)), np.float32)

    centre = (np.arange(MAP) + 0.5) / MAP
    y, x = (each.ravel() for each in np.meshgrid(centre, centre, indexing="ij"))
    for number in range(len(EARLY) + len(MOTION) + len(POSITION)):
        here = np.flatnonzero((brain.field[:, 3] == number) & np.isin(brain.area, (1, 2, 3)))
        cx, cy, sd = (brain.field[here, k, None] for k in range(3))
        weight = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sd**2))
        weight /= weight.sum(axis=1, keepdims=True)
        answers[:, here] = maps[:, number] @ weight.T.astype(np.float32)

    labels, table = meanings(seen)
    here = np.flatnonzero(brain.area == 4)
    tuned = np.zeros((len(labels), len(here)), np.float32)
    for voxel in range(len(here)):
        chosen = rng.permutation(len(labels))[:MEANING_LABELS]
        tuned[chosen, voxel] = rng.normal(0, 1, len(chosen))
    spread = table[:n_train].std(axis=0)
    answers[:, here] = (table / np.where(spread > 0, spread, 1)) @ tuned

    used = brain.area > 0
    answers[:, used] = _standard(answers[:, used], n_train)
    answers[:, used] = _standard(np.tanh(answers[:, used] / COMPRESSION), n_train)
    return answers


def _standard(values: Array, n_train: int) -> Array:
    mean, sd = values[:n_train].mean(axis=0), values[:n_train].std(axis=0)
    standard: Array = (values - mean) / np.where(sd > 1e-9, sd, 1)
    return standard
