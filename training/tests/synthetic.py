"""Small movie data sets, and the daemon's preparation of them in a few lines of numpy."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from safetensors.numpy import save_file

from corticast_training.data.layout import RunName
from corticast_training.data.movie import Movie
from corticast_training.data.nifti import read_map, read_volumes
from corticast_training.synth.dataset import Plan, write_dataset

SMALL = Plan("tiny", 1, 36, 3, 12, 2, (10, 10, 8), 0.6, seed=5)
Change = Callable[[dict[str, Any]], None]


def make_dataset(out: Path, plan: Plan = SMALL) -> Path:
    write_dataset(out, plan)
    return out


def runs_on_disk(movie: Movie, subject: str) -> list[RunName]:
    files = sorted((movie.layout.subject(subject) / "func").glob("*_bold.nii.gz"))
    found = [RunName.parse(path.name) for path in files]
    assert all(found)
    return [run for run in found if run is not None]


def prepare(
    movie: Movie,
    subject: str,
    out: Path,
    change: Mapping[str, Change] | None = None,
    settings: dict[str, dict[str, Any]] | None = None,
    mask: Path | None = None,
) -> Path:
    """What `corticast prepare` writes: whole-run z-scores here, each volume a window.

    `change` spoils the tensors of a run by its name; `mask` takes other voxels than the brain's.
    """
    values, affine = read_map(mask or movie.layout.brain_mask(subject))
    inside = values > 0
    facts = movie.facts
    for run in runs_on_disk(movie, subject):
        series = read_volumes(movie.layout.bold(run))[inside].T
        series = (series - series.mean(axis=0)) / series.std(axis=0)
        times = np.arange(len(series)) * facts.repetition_time_s - facts.hrf_delay_s
        tensors: dict[str, Any] = {
            # In C order: safetensors writes other arrays as they lie, without a word.
            "windows": np.ascontiguousarray(series[:, None], np.float32),
            "stimulus_time_s": times,
            "index": np.arange(len(series), dtype=np.int64),
        }
        if change and str(run) in change:
            change[str(run)](tensors)
        space = {"matrix": list(inside.shape), "affine": affine[:3].tolist()}
        write_prepared(out / str(run), tensors, str(run), space, facts.hrf_delay_s, settings)
        (out / str(run) / "events.tsv").write_text(movie.layout.events(run).read_text())
    return out


def write_prepared(
    folder: Path,
    tensors: dict[str, Any],
    run: str,
    space: dict[str, Any],
    hrf_delay_s: float,
    settings: dict[str, dict[str, Any]] | None = None,
) -> None:
    folder.mkdir(parents=True)
    save_file(tensors, folder / "data.safetensors")
    sections: dict[str, Any] = {
        "format": 1,
        "run": run,
        "mask": {
            "hash": "cd" * 32,
            "n_voxel": tensors["windows"].shape[2],
            **space,
        },
        "signal": {
            "repetition_time_s": 2.0,
            "hrf_delay_s": hrf_delay_s,
            "shift": "nearest",
            "window_volumes": 1,
        },
        "normalise": {"mode": "growing", "warm_up_volumes": 0},
    }
    for name, values in (settings or {}).items():
        sections[name] = sections[name] | values
    (folder / "prepared.toml").write_text(tomli_w.dumps(sections))
