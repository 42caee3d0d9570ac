"""Where the files of a movie data set are, and the names of its runs.

```text
DATA/dataset.toml                                     facts, written last
DATA/clips/{train,test}.{jsonl,safetensors}           what was shown
DATA/sub-01/func/sub-01_task-train01_run-1_bold.nii.gz   one run a segment and repeat
DATA/sub-01/func/sub-01_task-train01_run-1_events.tsv    onset, duration, trial_type, clip
DATA/sub-01/func/sub-01_task-test01mean_run-1_bold.nii.gz   mean of the test's repeats
DATA/sub-01/brain_mask.nii.gz, mask.nii.gz            brain; voxels chosen by `voxels`
```
"""

import re
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "test")
MEAN = "mean"
_RUN = re.compile(r"sub-(?P<subject>[0-9A-Za-z]+)_task-(?P<task>[0-9A-Za-z]+)_run-(?P<run>\d+)")
_TASK = re.compile(r"(?P<split>train|test)(?P<segment>\d+)(?P<mean>mean)?")


@dataclass(frozen=True, order=True)
class RunName:
    """One run: a segment of a split, seen once (or the mean over all times)."""

    subject: str
    split: str
    segment: int
    repeat: int
    """Counted from 1."""
    mean: bool = False

    @property
    def task(self) -> str:
        """The BIDS task label, e.g. `train01` or `test01mean`."""
        return f"{self.split}{self.segment:02d}{MEAN if self.mean else ''}"

    def __str__(self) -> str:
        return f"sub-{self.subject}_task-{self.task}_run-{self.repeat}"

    @classmethod
    def parse(cls, text: str) -> "RunName | None":
        """Reads the entities out of a run's name; None if it is not a movie run."""
        if not (run := _RUN.search(text)) or not (task := _TASK.fullmatch(run["task"])):
            return None
        return cls(
            subject=run["subject"],
            split=task["split"],
            segment=int(task["segment"]),
            repeat=int(run["run"]),
            mean=task["mean"] is not None,
        )


@dataclass(frozen=True)
class Layout:
    """The paths of one data set."""

    folder: Path

    @property
    def facts(self) -> Path:
        """`dataset.toml`."""
        return self.folder / "dataset.toml"

    def clips(self, split: str) -> Path:
        """One JSON line a clip."""
        return self.folder / "clips" / f"{split}.jsonl"

    def tensors(self, split: str) -> Path:
        """Frames and key-object masks."""
        return self.folder / "clips" / f"{split}.safetensors"

    def key_masks(self, split: str) -> Path:
        """Key-object masks that `labels key-object` made."""
        return self.folder / "clips" / f"{split}.key_masks.safetensors"

    def subject(self, subject: str) -> Path:
        """Folder of a subject."""
        return self.folder / f"sub-{subject}"

    def bold(self, run: RunName) -> Path:
        """Volumes of a run."""
        return self.subject(run.subject) / "func" / f"{run}_bold.nii.gz"

    def events(self, run: RunName) -> Path:
        """Events of a run."""
        return self.subject(run.subject) / "func" / f"{run}_events.tsv"

    def brain_mask(self, subject: str) -> Path:
        """Voxels within the brain."""
        return self.subject(subject) / "brain_mask.nii.gz"

    def mask(self, subject: str) -> Path:
        """Voxels that were selected."""
        return self.subject(subject) / "mask.nii.gz"

    def truth(self, subject: str) -> Path:
        """What a synthetic data set was made of."""
        return self.folder / "truth" / f"sub-{subject}.safetensors"
