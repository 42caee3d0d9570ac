"""The labelled windows of all runs in one array, and how to hold some of them out.

Windows outside of blocks are left out, or, where evidence is added up over time, are a class of
their own: rest.

Windows that are close in time are similar whatever was shown. So folds never split a run: a decoder
that is tested on its training run looks better than it is. With only one run, folds are whole
blocks; with only one block per class, folds are half blocks, and the command prints a warning.
"""

import itertools
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from corticast_training.data.prepared import PreparedData
from corticast_training.errors import TrainingError
from corticast_training.labels.blocks import Block, Chosen, block_of_each, read_blocks
from corticast_training.model.evidence import REST, Evidence


@dataclass(frozen=True)
class LabelledWindows:
    """Windows that belong to a block, or to rest. `n` counts them over all runs."""

    windows: NDArray[np.float32]
    """Shape `[n, window_volumes * n_voxel]`, oldest volume first."""
    label: NDArray[np.int64]
    """Shape `[n]`: position in `classes`."""
    classes: list[str]
    run: NDArray[np.int64]
    """Shape `[n]`: position of the run."""
    block: NDArray[np.int64]
    """Shape `[n]`: number of the block, counted over all runs; -1 in rest."""
    stimulus_time_s: NDArray[np.float64]
    """Shape `[n]`: since the start of the run."""
    evidence: Evidence | None = None
    """How evidence is added up; rest is the last class then."""
    without_windows: list[str] = field(default_factory=list)
    """Labels of events that hold no window, e.g. of instants; they are no classes."""

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Which windows belong to a block. Shape `[n]`."""
        shown: NDArray[np.bool_] = self.block >= 0
        return shown

    @property
    def answers(self) -> list[str]:
        """The classes without rest."""
        return self.classes if self.evidence is None else self.classes[:-1]


@dataclass(frozen=True)
class Folds:
    """Which windows are held out together."""

    held_out: list[NDArray[np.bool_]]
    """One mask of shape `[n]` per fold; every window is held out exactly once."""
    by: str
    """What a fold holds out, in words."""
    optimistic: bool
    """Whether a fold is tested on blocks it was also trained on."""


def label_windows(
    data: PreparedData, chosen: Chosen | str, with_rest: bool = False
) -> LabelledWindows:
    """Labels the windows of all runs by the chosen events. A name stands for its column.

    `with_rest` keeps the windows outside of events, as a class of its own, and measures how long
    blocks and rest are. Raises `TrainingError` if no window is inside an event, if there are fewer
    than two classes, or if there is no rest between blocks.
    """
    if isinstance(chosen, str):
        chosen = Chosen(chosen)
    rows, labels, runs, blocks, times = [], [], [], [], []
    all_events: list[list[Block]] = []
    n_block, n_feature = 0, int(np.prod(data.window_shape))
    for position, run in enumerate(data.runs):
        events = read_blocks(run.folder / "events.tsv", chosen)
        found = block_of_each(run.stimulus_time_s, events)
        used = np.full(len(found), True) if with_rest else found >= 0
        rows.append(run.windows[used].reshape(int(used.sum()), n_feature))
        labels += [events[event].label if event >= 0 else None for event in found[used]]
        runs += [position] * int(used.sum())
        blocks += [n_block + int(event) if event >= 0 else -1 for event in found[used]]
        times.append(run.stimulus_time_s[used])
        n_block += len(events)
        all_events.append(events)
    classes = sorted({label for label in labels if label is not None})
    every_event = [block for events in all_events for block in events]
    absent = sorted((chosen.classes or frozenset()) - {block.label for block in every_event})
    if absent:
        raise TrainingError(f"no event of class {absent[0]!r} in column {chosen.target!r}")
    if not classes:
        every = np.concatenate([run.stimulus_time_s for run in data.runs])
        span = f"{every.min():.1f} to {every.max():.1f} s" if every.size else "nothing"
        raise TrainingError(
            f"no window is inside an event with a {chosen.target!r}: {len(every)} windows cover "
            f"{span}, {n_block} events were read{_why_empty(every_event)}"
        )
    without_windows = sorted({block.label for block in every_event} - set(classes))
    if len(classes) < 2:
        raise TrainingError(
            f"found one class, {classes[0]!r}, expected at least two to tell apart"
            f"{_why_alone(without_windows)}"
        )
    evidence = None
    if with_rest:
        if REST in classes:
            raise TrainingError(f"a class is named {REST!r}, expected another name with --evidence")
        repetition_time_s = float(data.signal["repetition_time_s"])
        lasting = [[block for block in events if block.duration_s > 0] for events in all_events]
        block_s, rest_s = _lengths(lasting, repetition_time_s)
        evidence = Evidence(len(classes), block_s, rest_s, repetition_time_s)
        classes = [*classes, REST]
    position_of = {name: position for position, name in enumerate(classes)}
    return LabelledWindows(
        windows=np.concatenate(rows),
        label=np.array([position_of[label or REST] for label in labels], dtype=np.int64),
        classes=classes,
        run=np.array(runs, dtype=np.int64),
        block=np.array(blocks, dtype=np.int64),
        stimulus_time_s=np.concatenate(times),
        evidence=evidence,
        without_windows=without_windows,
    )


def _why_empty(events: list[Block]) -> str:
    """What a user can do about events that hold no window."""
    if events and all(block.duration_s == 0 for block in events):
        return "; their durations are all 0 (or n/a): give their length with --duration-s"
    return ""


def _why_alone(without_windows: list[str]) -> str:
    if not without_windows:
        return ""
    names = ", ".join(map(repr, without_windows))
    return f"; no window is inside an event of {names}: are their durations 0? (--duration-s)"


def _lengths(all_events: list[list[Block]], repetition_time_s: float) -> tuple[float, float]:
    """Mean length of the blocks of all runs, and of the rest between them, in seconds."""
    block_s = fmean(block.duration_s for events in all_events for block in events)
    rests_s = [
        after.onset_s - before.onset_s - before.duration_s
        for events in all_events
        for before, after in itertools.pairwise(events)
    ]
    rest_s = fmean(rests_s) if rests_s else 0.0
    for what, found_s in (("blocks", block_s), ("rest between blocks", rest_s)):
        if found_s < repetition_time_s:
            raise TrainingError(
                f"the {what} last {found_s:.2f} s on average, expected at least the TR "
                f"({repetition_time_s} s) with --evidence"
            )
    return block_s, rest_s


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
