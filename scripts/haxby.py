"""Haxby: decode a real run, from the scanner's volumes to the score, with the shipped tools.

For each fold `corticast prepare` makes training data, `corticast-train linear` a model, and
`corticast replay` runs the held-out run through the daemon's own signal path. Scored here
from the results file, the way a participant would be: nothing of the test run is known in
advance. Without TRAIN and TEST every run is left out once.

    HAXBY_DIR=DIR [TRAIN='run-01 …' TEST='run-07 …'] make haxby

| variable | default | |
|---|---|---|
| `NORMALISE` | `growing` | mode of `[normalise]` |
| `ACROSS` | `1` | 1: each volume is z-scored across its voxels |
| `METHOD` | `lda` | of `corticast-train linear` |
| `EVIDENCE` | `1` | 1: evidence is added up over volumes |
| `SIGNAL` | | further settings, as in `SIGNAL='signal.window_volumes=2 …'` |
| `PERMUTATIONS` | `1000` | random orders of the labels of test blocks: they fall to chance |

Models, results and logs stay in haxby-out/, or in HAXBY_OUT.

Per TR counts volumes whose stimulus time lies in a block, per block takes the class with the
highest mean probability over the block; both are averaged over folds. Intervals are Student's, over
folds.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.errors import TrainingError
from corticast_training.evaluate.decoding import Accuracy, accuracy
from corticast_training.evaluate.intervals import Decoded, of_mean, permutation_control
from corticast_training.labels.blocks import block_of_each, read_blocks

ROOT = Path(__file__).resolve().parent.parent
CORTICAST = ROOT / "target/release/corticast"
TRAINER = Path(sys.executable).parent / "corticast-train"
CONFIG = ROOT / "configs/haxby.toml"
# Runs at the same time need folders of their own.
OUT = Path(os.environ.get("HAXBY_OUT", ROOT / "haxby-out")).resolve()
MASK, BOLD, EVENTS = "mask_1slice.nii.gz", "bold_1slice.nii.gz", "bold_events.tsv"
TARGET = "trial_type"

HOW_TO_GET_IT = f"""\
error: HAXBY_DIR is not set, expected the folder of the Haxby 2001 example.

The data are public (Haxby et al. 2001, subject 1) and not part of this repository:
  - PyMVPA (MIT) ships this subject as its example data, with events a little after the true
    onsets, which is why the delay here is 0;
  - OpenNeuro ds000105 is the original, in BIDS.
Lay them out as
  HAXBY_DIR/{MASK}           the voxels, same matrix as the scan
  HAXBY_DIR/run-01/{BOLD}      one folder per run, TR 2.5 s
  HAXBY_DIR/run-01/{EVENTS}        onset, duration, {TARGET}
and run: make haxby HAXBY_DIR=…"""


class HaxbyError(Exception):
    """Something the user can put right."""


@dataclass(frozen=True)
class Fold:
    """Runs to train on and runs to decode."""

    train: Sequence[str]
    test: Sequence[str]


def main() -> int:
    """Runs all folds. The last line printed is the score."""
    folder = os.environ.get("HAXBY_DIR", "")
    if not folder:
        print(HOW_TO_GET_IT, file=sys.stderr)
        return 2
    try:
        data = Path(folder).resolve()
        environment = environment_for(data)
        shutil.rmtree(OUT, ignore_errors=True)
        decoded = [decode_fold(data, fold, environment) for fold in folds_of(data)]
    except (HaxbyError, TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    scores = [score_of(fold) for fold in decoded]
    if len(scores) > 1:
        print(f"per TR    {of_mean([score.per_tr for score in scores])}")
        print(f"per block {of_mean([score.per_block for score in scores])}")
    if n_permutation := int(os.environ.get("PERMUTATIONS", "1000")):
        control = permutation_control(decoded, n_permutation)
        n_class = decoded[0].probabilities.shape[1]
        print(
            f"labels of test blocks permuted {control.n} times: per TR {control.per_tr:.3f}, per "
            f"block {control.per_block:.3f}, chance {1 / n_class:.3f}; {control.n_as_good} of them "
            "reach the score per block"
        )
    per_tr = statistics.fmean(score.per_tr for score in scores)
    per_block = statistics.fmean(score.per_block for score in scores)
    print(f"per_tr={per_tr:.3f} per_block={per_block:.3f}")
    return 0


def environment_for(data: Path) -> dict[str, str]:
    """What overrides `configs/haxby.toml`: the mask, NORMALISE and ACROSS."""
    if not (data / MASK).is_file():
        raise HaxbyError(f"{data / MASK}: missing, HAXBY_DIR should hold it")
    environment = dict(os.environ, CORTICAST_SIGNAL__MASK=str(data / MASK))
    if mode := os.environ.get("NORMALISE"):
        environment["CORTICAST_NORMALISE__MODE"] = mode
    across = "true" if is_on("ACROSS") else "false"
    environment["CORTICAST_NORMALISE__ACROSS_VOXELS"] = across
    return environment


def is_on(name: str) -> bool:
    """Whether a variable that is 0 or 1 is 1, which it is when it is not set."""
    value = os.environ.get(name) or "1"
    if value not in ("0", "1"):
        raise HaxbyError(f"{name} is {value!r}, expected 0 or 1")
    return value == "1"


def folds_of(data: Path) -> list[Fold]:
    """The fold that TRAIN and TEST name, or one per run."""
    runs = sorted(path.parent.name for path in data.glob(f"*/{BOLD}"))
    train, test = (os.environ.get(name, "").split() for name in ("TRAIN", "TEST"))
    for run in [*train, *test]:
        if run not in runs:
            raise HaxbyError(f"no {run} in {data}, found {' '.join(runs) or 'no run'}")
    if set(train) & set(test):
        raise HaxbyError(f"{' '.join(sorted(set(train) & set(test)))} is in both TRAIN and TEST")
    if train or test:
        # One of the two says enough: the others are the rest.
        train = train or [run for run in runs if run not in test]
        test = test or [run for run in runs if run not in train]
        folds = [Fold(train, test)]
    else:
        folds = [Fold([run for run in runs if run != left_out], [left_out]) for left_out in runs]
    if not folds or not all(fold.train and fold.test for fold in folds):
        raise HaxbyError(f"found {len(runs)} runs in {data}, expected two or more")
    return folds


def decode_fold(data: Path, fold: Fold, environment: Mapping[str, str]) -> Decoded:
    """Prepares, trains and replays one fold."""
    folder = OUT / "+".join(fold.test)
    folder.mkdir(parents=True)

    def run_flags(runs: Sequence[str]) -> list[str]:
        return [
            word for run in runs for word in ("--run", f"{data / run / BOLD},{data / run / EVENTS}")
        ]

    log = folder / "log.txt"
    settings = [word for one in os.environ.get("SIGNAL", "").split() for word in ("--set", one)]
    prepare: list[str | Path] = [CORTICAST, "prepare", "--config", CONFIG, *settings]
    call([*prepare, *run_flags(fold.train), "--out", folder / "prepared"], log, environment)
    train: list[str | Path] = [TRAINER, "linear", "--data", folder / "prepared", "--target", TARGET]
    train += ["--method", os.environ.get("METHOD") or "lda"]
    train += ["--evidence"] if is_on("EVIDENCE") else []
    call([*train, "--out", folder / "model"], log, environment)
    labels, blocks, rows = [], [], []
    n_block = 0
    for run in fold.test:
        # One replay a run: `run` in the results is the scanner's name for it, not the folder's.
        results = folder / f"{run}.jsonl"
        replay: list[str | Path] = [
            CORTICAST,
            "replay",
            "--config",
            CONFIG,
            *settings,
            "--model",
            folder / "model",
        ]
        call([*replay, *run_flags([run]), "--results", results, "--overwrite"], log, environment)
        events = read_blocks(data / run / EVENTS, TARGET)
        times, concepts = read_results(results)
        classes = sorted(concepts[0])
        found = block_of_each(times, events)
        for position, event in enumerate(found):
            if event < 0:
                continue
            if events[event].label not in classes:
                raise HaxbyError(f"{run}: {events[event].label!r} was in no training run")
            labels.append(classes.index(events[event].label))
            blocks.append(n_block + int(event))
            rows.append([concepts[position][name] for name in classes])
        n_block += len(events)
    if not labels:
        raise HaxbyError(f"no result of {' '.join(fold.test)} lies in a block")
    decoded = Decoded(np.array(rows, dtype=np.float64), np.array(labels), np.array(blocks))
    score = score_of(decoded)
    print(
        f"{' '.join(fold.test)}: per TR {score.per_tr:.3f} ({score.n_tr} volumes), "
        f"per block {score.per_block:.3f} ({score.n_block} blocks)",
        flush=True,
    )
    return decoded


def score_of(decoded: Decoded) -> Accuracy:
    """How often the right class was named."""
    return accuracy(decoded.probabilities, decoded.label, decoded.block)


def read_results(path: Path) -> tuple[NDArray[np.float64], list[dict[str, float]]]:
    """Stimulus times `[n]` in seconds and the probabilities of each result."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line.get("concepts")]
    if not lines:
        raise HaxbyError(f"{path}: no result with concepts in it")
    indices = [line["index"] for line in lines]
    if len(set(indices)) < len(indices):
        raise HaxbyError(f"{path}: {len(indices)} results of {len(set(indices))} volumes")
    times = np.array([line["stimulus_time_s"] for line in lines], dtype=np.float64)
    return times, [line["concepts"] for line in lines]


def call(command: Sequence[str | Path], log: Path, environment: Mapping[str, str]) -> None:
    """Runs a tool; what it says goes to `log`, and to the error if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}\n")
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise HaxbyError(f"`{Path(words[0]).name} {words[1]}` ended with {done.returncode}: {said}")


if __name__ == "__main__":
    sys.exit(main())
