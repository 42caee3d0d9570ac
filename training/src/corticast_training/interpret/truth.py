"""The maps that are expected for synthetic data, from the data's known truth.

Each informative voxel belongs to an area, and one task is closest to the area's response. This is
only a rough guide: a task's embedding contains more than the task's name says.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from corticast_training.errors import TrainingError
from corticast_training.interpret import TASKS
from corticast_training.interpret.network import Array

EXPECTED = {
    "early": ("reconstruction",),
    "position": ("segmentation", "reconstruction"),
    "meaning": ("concepts", "description"),
}
"""Area → tasks that should be preferred there. Motion is what no single task is about."""


def read_areas(path: Path, mask: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]] | None:
    """Area → which voxels of the mask belong to it; `None` if the truth is not known."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            names = (file.metadata() or {}).get("areas", "").split(",")
            area = file.get_tensor("area")
    except SafetensorError as error:
        raise TrainingError(f"{path}: cannot be read: {error}") from error
    if area.shape != mask.shape:
        raise TrainingError(f"{path}: areas are {list(area.shape)}, expected {list(mask.shape)}")
    inside = area[mask]
    return {name: inside == number for number, name in enumerate(names)}


def agreement(
    areas: dict[str, NDArray[np.bool_]], weights: Array, score: Array, ridge: dict[str, Array]
) -> dict[str, Any]:
    """Per area: voxels, mean score, mean weight and mean ridge score of each task.

    `weight_over_chance` is the mean weight of the expected tasks, minus the weight that the
    same number of tasks would have by chance.
    """
    table: dict[str, Any] = {}
    for name, here in areas.items():
        if not here.any():
            continue
        row: dict[str, Any] = {
            "voxels": int(here.sum()),
            "score": float(score[here].mean()),
            "weights": {t: float(weights[here, k].mean()) for k, t in enumerate(TASKS)},
            "ridge": {t: float(ridge[t][here].mean()) for t in TASKS},
        }
        if wanted := EXPECTED.get(name):
            chosen = sum(row["weights"][task] for task in wanted)
            row["expected"] = list(wanted)
            row["weight_over_chance"] = chosen - len(wanted) / len(TASKS)
        table[name] = row
    return table
