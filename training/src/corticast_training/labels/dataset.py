"""The labelled windows of all runs in one array, and how to hold some of them out.

Windows that are close in time are similar whatever was shown. So folds never split a run: a decoder
that is tested on its training run looks better than it is. With only one run, folds are whole
blocks; with only one block per class, folds are half blocks, and the command prints a warning.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corticast_training.data.prepared import PreparedData
from corticast_training.errors import TrainingError
from corticast_training.labels.blocks import block_of_each, read_blocks


@dataclass(frozen=True)
class LabelledWindows:
    """Windows that belong to a block. `n` counts them over all runs."""

    windows: NDArray[np.float32]
    """Shape `[n, window_volumes * n_voxel]`, oldest volume first."""
    label: NDArray[np.int64]
    """Shape `[n]`: position in `classes`."""
    classes: list[str]
    run: NDArray[np.int64]
    """Shape `[n]`: position of the run."""
    block: NDArray[np.int64]
    """Shape `[n]`: number of the block, counted over all runs."""


@dataclass(frozen=True)
class Folds:
    """Which windows are held out together."""

    held_out: list[NDArray[np.bool_]]
    """One mask of shape `[n]` per fold; every window is held out exactly once."""
    by: str
    """What a fold holds out, in words."""
    optimistic: bool
    """Whether a fold is tested on blocks it was also trained on."""


def label_windows(data: PreparedData, target: str) -> LabelledWindows:
    """Labels the windows of all runs by column `target` of their events.

    Raises `TrainingError` if no window is inside an event, or if there are fewer than two
    classes.
    """
    rows, labels, runs, blocks = [], [], [], []
    n_block, n_feature = 0, int(np.prod(data.window_shape))
    for position, run in enumerate(data.runs):
        events = read_blocks(run.folder / "events.tsv", target)
        found = block_of_each(run.stimulus_time_s, events)
        used = found >= 0
        rows.append(run.windows[used].reshape(int(used.sum()), n_feature))
        labels += [events[event].label for event in found[used]]
        runs += [position] * int(used.sum())
        blocks += [n_block + int(event) for event in found[used]]
        n_block += len(events)
    if not labels:
        times = np.concatenate([run.stimulus_time_s for run in data.runs])
        span = f"{times.min():.1f} to {times.max():.1f} s" if times.size else "nothing"
        raise TrainingError(
            f"no window is inside an event with a {target!r}: {len(times)} windows cover {span}, "
            f"{n_block} events were read"
        )
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise TrainingError(f"found one class, {classes[0]!r}, expected at least two to tell apart")
    return LabelledWindows(
        windows=np.concatenate(rows),
        label=np.array([classes.index(label) for label in labels], dtype=np.int64),
        classes=classes,
        run=np.array(runs, dtype=np.int64),
        block=np.array(blocks, dtype=np.int64),
    )


def folds_of(labelled: LabelledWindows) -> Folds:
    """Leaves one run out; with a single run, leaves blocks or half blocks out."""
    runs = np.unique(labelled.run)
    if len(runs) > 1:
        return Folds([labelled.run == run for run in runs], by="run", optimistic=False)

    # Fold k holds the k-th block of each class: every fold still sees every class.
    turn = np.zeros(len(labelled.label), dtype=np.int64)
    n_block = []
    for label in range(len(labelled.classes)):
        blocks = np.unique(labelled.block[labelled.label == label])
        n_block.append(len(blocks))
        for k, block in enumerate(blocks):
            turn[labelled.block == block] = k
    if min(n_block) > 1:
        n_fold = min(n_block)
        return Folds([turn % n_fold == k for k in range(n_fold)], by="block", optimistic=False)

    late = np.zeros(len(labelled.label), dtype=np.bool_)
    for block in np.unique(labelled.block):
        positions = np.flatnonzero(labelled.block == block)
        if len(positions) < 2:
            raise TrainingError(
                "one run with one window a block cannot be cross-validated, expected two runs, "
                "two blocks a class, or two windows a block"
            )
        late[positions[len(positions) // 2 :]] = True
    return Folds([late, ~late], by="half block", optimistic=True)
