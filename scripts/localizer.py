"""Localizer: which block of a whole-brain run is which, from what the daemon knew in time.

    scripts/localizer.py FOLDER [--set signal.hrf_delay_s=6 …]

FOLDER holds `bold_6mm.nii.gz`, `mask_6mm.nii.gz` and `events.tsv` with two blocks of each category
(studyforrest's localizer; see datalad/example-dicom-functional). `corticast prepare` takes the run
through the daemon's own signal path, with any settings of `configs/localizer.toml` changed by
`--set`. A block is the mean of its windows. It gets the category of the training block whose
pattern correlates best with its own, over the voxels that vary most between training blocks, after
the mean of the training blocks is taken off. Training blocks are the first of each category and
test blocks the second, which is causal throughout, and the other way round, in which only the
classifier has seen the future. The last line printed is the score.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.data.prepared import read_prepared
from corticast_training.errors import TrainingError
from corticast_training.evaluate.intervals import of_share
from corticast_training.labels.blocks import block_of_each, read_blocks

ROOT = Path(__file__).resolve().parent.parent
CORTICAST = ROOT / "target/release/corticast"
CONFIG = ROOT / "configs/localizer.toml"
N_VOXEL = 1000

Array = NDArray[np.float64]


def main() -> int:
    """Prepares the run, classifies its blocks, and prints how many were right."""
    parser = argparse.ArgumentParser(description="Classify the blocks of a localizer run.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    try:
        patterns, labels = block_patterns(args.folder, args.set)
        first, second = halves(labels)
    except (TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    n_right = 0
    for name, train, test in (("first", first, second), ("second", second, first)):
        found = classify(patterns, train, test)
        right = [labels[a] == labels[b] for a, b in zip(found, test, strict=True)]
        n_right += sum(right)
        print(f"trained on the {name} block of each category: {sum(right)} of {len(test)} right")
    n = len(first) + len(second)
    print(f"chance {1 / len(first):.3f}")
    print(f"right={n_right} of={n} share={of_share(n_right, n)} (binomial)")
    return 0


def block_patterns(folder: Path, settings: list[str]) -> tuple[Array, list[str]]:
    """The mean window of each block `[n_block, n_voxel]`, and the blocks' categories."""
    bold, events = folder / "bold_6mm.nii.gz", folder / "events.tsv"
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "prepared"
        command = [CORTICAST, "prepare", "--config", CONFIG, "--run", f"{bold},{events}"]
        command += ["--set", f"signal.mask={folder / 'mask_6mm.nii.gz'}", "--out", out]
        command += [word for setting in settings for word in ("--set", setting)]
        words = [str(word) for word in command]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise TrainingError(f"`corticast prepare` ended with {done.returncode}: {said}")
        run = read_prepared(out).runs[0]
        blocks = read_blocks(run.folder / "events.tsv", "trial_type")
    block_of = block_of_each(run.stimulus_time_s, blocks)
    if missing := [blocks[k].onset_s for k in range(len(blocks)) if not (block_of == k).any()]:
        raise TrainingError(f"the blocks at {missing} s have no window, expected one or more each")
    windows = run.windows.reshape(len(run.windows), -1).astype(np.float64)
    patterns = np.stack([windows[block_of == k].mean(axis=0) for k in range(len(blocks))])
    return patterns, [block.label for block in blocks]


def halves(labels: list[str]) -> tuple[list[int], list[int]]:
    """Positions of the first and of the second block of each category."""
    first = [k for k, label in enumerate(labels) if label not in labels[:k]]
    second = [k for k in range(len(labels)) if k not in first]
    if sorted(labels[k] for k in first) != sorted(labels[k] for k in second):
        raise TrainingError(f"found blocks {' '.join(labels)}, expected two of each category")
    return first, second


def classify(patterns: Array, train: list[int], test: list[int]) -> list[int]:
    """For each test block, the training block that it resembles most."""
    most = np.argsort(-patterns[train].var(axis=0), kind="stable")[:N_VOXEL]
    centred = patterns[:, most] - patterns[train][:, most].mean(axis=0)
    return [
        train[int(np.argmax([np.corrcoef(centred[b], centred[a])[0, 1] for a in train]))]
        for b in test
    ]


if __name__ == "__main__":
    sys.exit(main())
