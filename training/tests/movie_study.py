"""One small study for all tests that train: data set, prepared BOLD of two subjects, targets.

The second subject has half the voxels of the first. It is made once a session. Nobody changes it;
a test that spoils something copies that part.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from corticast_training.cli import main
from corticast_training.config import Config
from corticast_training.data.movie import Movie, read_movie
from corticast_training.data.nifti import read_map, write_map
from corticast_training.synth.dataset import Plan
from synthetic import make_dataset, prepare

PLAN = Plan("tiny", 2, 36, 3, 12, 1, (8, 8, 7), 0.4, seed=5)
SUBJECTS = ("01", "02")
EPOCHS, PER_EPOCH = 3, 5
"""33 clips are trained on, 6 of each subject a batch. Stage 2 has 2 epochs."""


@dataclass(frozen=True)
class Study:
    """Where everything is."""

    folder: Path
    movie: Movie

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def targets(self) -> Path:
        return self.folder / "targets"

    def prepared(self, subject: str) -> Path:
        return self.folder / "prepared" / f"sub-{subject}"

    def arguments(self, *subjects: str) -> list[str]:
        """What `brain` and `decoupler` are told of the data."""
        given = ["--data", str(self.movie.folder), "--targets", str(self.targets)]
        for subject in subjects or SUBJECTS:
            given += ["--prepared", f"{subject}={self.prepared(subject)}"]
        return [*given, "--accelerator", "cpu"]


def small_config() -> Config:
    """`tiny` made smaller: a training takes a second or two."""
    tiny = Config.load("tiny")
    few: dict[str, Any] = {"epochs": EPOCHS, "batch": 12, "checkpoint_every_steps": 4}
    return replace(
        tiny,
        sizes=replace(
            tiny.sizes,
            hidden=32,
            n_block=2,
            prior_depth=1,
            decoder_channels=(16, 8),
            up_channels=(8, 4),
            caption_embd=8,
            caption_layers=1,
        ),
        brain=replace(tiny.brain, **few),
        decoupler=replace(tiny.decoupler, **few | {"epochs": 2, "segmentation_loss": "bce"}),
    )


def make_study(folder: Path) -> Study:
    movie = read_movie(make_dataset(folder / "data", PLAN))
    study = Study(folder, movie)
    small_config().save(study.config)
    brain, affine = read_map(movie.layout.brain_mask("02"))
    brain[: len(brain) // 2] = 0
    write_map(movie.layout.mask("02"), brain, affine)
    prepare(movie, "01", study.prepared("01"))
    prepare(movie, "02", study.prepared("02"), mask=movie.layout.mask("02"))
    made = ["targets", "--data", str(movie.folder), "--out", str(study.targets)]
    assert main([*made, "--pretrained", "tiny", "--preset", str(study.config)]) == 0
    return study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def few(study: Study, tmp_path: Path) -> Movie:
    """The clips of the data set, no BOLD, in a copy that a test may change."""
    data = tmp_path / "data"
    (data / "clips").mkdir(parents=True)
    for path in (study.movie.layout.facts, *(study.movie.folder / "clips").iterdir()):
        shutil.copy(path, data / path.relative_to(study.movie.folder))
    return read_movie(data)


@pytest.fixture(scope="session")
def brain(study: Study) -> Path:
    """Stage 1, trained without a break."""
    out = study.folder / "brain"
    train("brain", study, out)
    return out


@pytest.fixture(scope="session")
def decoupler(study: Study, brain: Path) -> Path:
    """Stage 2 on it, trained without a break."""
    out = study.folder / "decoupler"
    train("decoupler", study, out, "--brain", str(brain))
    return out


def train(stage: str, study: Study, out: Path, *more: str) -> None:
    """Trains a stage through the command line."""
    assert main([*command(stage, study, out), *more]) == 0


def command(stage: str, study: Study, out: Path, *subjects: str) -> list[str]:
    preset = ["--preset", str(study.config)] if stage == "brain" else []
    return [stage, *study.arguments(*subjects), *preset, "--out", str(out)]
