import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from safetensors.numpy import save_file

from movie_study import brain as brain
from movie_study import decoupler as decoupler
from movie_study import few as few
from movie_study import study as study

# The networks of a test are tiny: threads that wait for each other cost more than they save, a
# hundred times where something else runs. For torch, which nothing above imports.
os.environ.setdefault("OMP_NUM_THREADS", "1")

N_VOXEL = 12
CLASSES = ("face", "house", "shoe")
BLOCK_S, GAP_S, TR_S = 10.0, 4.0, 2.0

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes one prepared run: two blocks a class, each class lifts voxels of its own."""

    def make(
        name: str,
        *,
        seed: int = 0,
        classes: tuple[str, ...] = CLASSES,
        repeats: int = 2,
        spoil: Callable[[dict[str, Any]], None] | None = None,
        settings: dict[str, dict[str, object]] | None = None,
    ) -> Path:
        rng = np.random.default_rng(seed)
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        lines = ["onset\tduration\ttrial_type"]
        times, windows = [], []
        onset = GAP_S
        for label in classes * repeats:
            lines.append(f"{onset}\t{BLOCK_S}\t{label}")
            onset += BLOCK_S + GAP_S
        for k in range(int(onset / TR_S)):
            time = k * TR_S
            window = rng.standard_normal((2, N_VOXEL))
            position, within = divmod(time - GAP_S, BLOCK_S + GAP_S)
            if 0 <= within < BLOCK_S and position < len(classes) * repeats:
                window[:, int(position) % len(classes) :: len(classes)] += 1.0
            times.append(time)
            windows.append(window)
        tensors: dict[str, Any] = {
            "windows": np.array(windows, dtype=np.float32),
            "stimulus_time_s": np.array(times, dtype=np.float64),
            "index": np.arange(len(times), dtype=np.int64),
        }
        if spoil is not None:
            spoil(tensors)
        save_file(tensors, folder / "data.safetensors")
        (folder / "events.tsv").write_text("\n".join(lines) + "\n")
        prepared: dict[str, object] = {
            "format": 1,
            "run": name,
            "mask": {
                "hash": "ab" * 32,
                "n_voxel": N_VOXEL,
                "matrix": [4, 4, 4],
                "affine": np.eye(4).tolist(),
            },
            "signal": {
                "repetition_time_s": TR_S,
                "hrf_delay_s": 4.0,
                "shift": "nearest",
                "window_volumes": 2,
                "discard_volumes": 0,
                "missing": "restart",
            },
            "normalise": {"mode": "growing", "warm_up_volumes": 0},
        }
        for section, values in (settings or {}).items():
            old = prepared.setdefault(section, {})
            assert isinstance(old, dict)
            prepared[section] = old | values
        (folder / "prepared.toml").write_text(tomli_w.dumps(prepared))
        return folder.parent

    return make
