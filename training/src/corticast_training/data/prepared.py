"""Prepared runs: what `corticast prepare` wrote, one folder per run.

```text
DIR/<run_id>/data.safetensors   windows [n, S, V] f32, stimulus_time_s [n] f64, index [n] i64
DIR/<run_id>/events.tsv         the run's events, onsets on the clock of stimulus_time_s
DIR/<run_id>/prepared.toml      mask, signal, normalise and stages that made the windows
```

Everything is checked here, once: shapes, finiteness, and that all runs were prepared in the
same way. A model trained on runs that disagree would match none of them online.
"""

import hashlib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from corticast_training.errors import TrainingError

FORMAT = 1
# Sections of prepared.toml that a model depends on. `[config]` is for the reader only.
# `stages` is there if a stage that may be left out was on.
BINDING = ("mask", "signal", "normalise", "stages")


@dataclass(frozen=True)
class PreparedRun:
    """One run, as the model will see it online."""

    run: str
    folder: Path
    windows: NDArray[np.float32]
    """Shape `[n, window_volumes, n_voxel]`, normalised, oldest volume first."""
    stimulus_time_s: NDArray[np.float64]
    """Shape `[n]`: when the stimulus of each window was shown, since the start of the run."""


@dataclass(frozen=True)
class PreparedData:
    """All runs of a folder; they agree in every setting that a model depends on."""

    runs: list[PreparedRun]
    mask: dict[str, Any]
    signal: dict[str, Any]
    normalise: dict[str, Any]
    stages: dict[str, Any]
    """Settings of the stages that may be left out and were on; a model is used with the same."""
    statistics: Path | None
    """Frozen mean and s.d. that normalised the runs, if they were frozen."""
    sha256: str
    """Hash over windows and events of all runs, in order."""

    @property
    def window_shape(self) -> tuple[int, int]:
        """Volumes and voxels of a window."""
        _, n_volume, n_voxel = self.runs[0].windows.shape
        return n_volume, n_voxel


def read_prepared(folder: Path, wanted: Callable[[str], bool] | None = None) -> PreparedData:
    """Reads every run below `folder` whose folder's name is `wanted`, sorted by name.

    Raises `TrainingError` when there is none, when one is damaged, or when they disagree.
    """
    if not folder.is_dir():
        raise TrainingError(f"{folder}: expected a folder written by `corticast prepare`")
    folders = sorted(path.parent for path in folder.glob("*/prepared.toml"))
    if not folders:
        raise TrainingError(f"{folder}: no run in it, expected <run>/prepared.toml")
    if wanted is not None:
        found, folders = folders, [path for path in folders if wanted(path.name)]
        if not folders:
            names = ", ".join(path.name for path in found)
            raise TrainingError(f"{folder}: none of its runs is wanted here, found {names}")

    first, digest = _read_settings(folders[0]), hashlib.sha256()
    statistics = _statistics(folders[0], first)
    runs = []
    for run_folder in folders:
        settings = _read_settings(run_folder)
        _check_agreement(run_folder, settings, folders[0], first)
        other = _statistics(run_folder, settings)
        if statistics and other and statistics.read_bytes() != other.read_bytes():
            raise TrainingError(f"{other}: differs from {statistics}, expected one for all runs")
        runs.append(_read_run(run_folder, settings))
        for name in ("data.safetensors", "events.tsv"):
            digest.update(hashlib.sha256((run_folder / name).read_bytes()).digest())
    return PreparedData(
        runs=runs,
        mask=first["mask"],
        signal=first["signal"],
        normalise={k: v for k, v in first["normalise"].items() if k != "statistics"},
        stages=first.get("stages", {}),
        statistics=statistics,
        sha256=digest.hexdigest(),
    )


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / "prepared.toml"
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: not TOML: {error}") from error
    if settings.get("format") != FORMAT:
        raise TrainingError(f"{path}: format is {settings.get('format')!r}, expected {FORMAT}")
    wanted = {
        "mask": ("hash", "n_voxel", "matrix", "affine"),
        "signal": ("repetition_time_s", "hrf_delay_s", "shift", "window_volumes"),
        "normalise": ("mode",),
    }
    for section, keys in wanted.items():
        for key in keys:
            if not isinstance(settings.get(section), dict) or key not in settings[section]:
                raise TrainingError(f"{path}: `{key}` is missing from [{section}]")
    return settings


def _statistics(folder: Path, settings: dict[str, Any]) -> Path | None:
    name = settings["normalise"].get("statistics")
    if name is None:
        return None
    path = (folder / str(name)).resolve()
    if not path.is_file():
        raise TrainingError(f"{path}: missing, [normalise] of {folder}/prepared.toml names it")
    return path


def _check_agreement(
    folder: Path, settings: dict[str, Any], first_folder: Path, first: dict[str, Any]
) -> None:
    for section in BINDING:
        own, others = settings.get(section, {}), first.get(section, {})
        keys = own.keys() | others.keys()
        # Checked by content in `read_prepared`: each run writes the path relative to itself.
        for key in sorted(keys - {"statistics"}):
            found, expected = own.get(key), others.get(key)
            if found != expected:
                raise TrainingError(
                    f"runs were prepared differently: {section}.{key} is {found!r} "
                    f"in {folder.name}, expected {expected!r} as in {first_folder.name}"
                )


def _read_run(folder: Path, settings: dict[str, Any]) -> PreparedRun:
    path = folder / "data.safetensors"
    if not path.is_file():
        raise TrainingError(f"{path}: missing")
    if not (folder / "events.tsv").is_file():
        raise TrainingError(f"{folder / 'events.tsv'}: missing, training needs labels")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise TrainingError(f"{path}: not a safetensors file: {error}") from error
    for name, dtype in (("windows", np.float32), ("stimulus_time_s", np.float64)):
        if name not in tensors:
            raise TrainingError(f"{path}: tensor {name!r} is missing, found {sorted(tensors)}")
        if tensors[name].dtype != dtype:
            found = tensors[name].dtype
            raise TrainingError(f"{path}: {name!r} is {found}, expected {np.dtype(dtype)}")

    windows, times = tensors["windows"], tensors["stimulus_time_s"]
    expected = (len(times), settings["signal"]["window_volumes"], settings["mask"]["n_voxel"])
    if times.ndim != 1 or windows.shape != expected:
        raise TrainingError(
            f"{path}: windows are {list(windows.shape)}, expected [n, window_volumes, n_voxel] "
            f"= {list(expected)}"
        )
    if not np.isfinite(windows).all():
        bad = int(np.flatnonzero(~np.isfinite(windows).all(axis=(1, 2)))[0])
        raise TrainingError(f"{path}: window {bad} holds NaN or Inf, expected finite numbers")
    if not np.isfinite(times).all():
        raise TrainingError(f"{path}: a stimulus time is NaN or Inf, expected seconds")
    run = str(settings.get("run", folder.name))
    return PreparedRun(run=run, folder=folder, windows=windows, stimulus_time_s=times)
