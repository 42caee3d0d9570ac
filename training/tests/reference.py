"""The reference fixtures: `CORTICAST_REFERENCE`, or the copies under `tests/data/reference`.

Tests run every case that the folder's manifest lists, with that case's own parameters.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

SHIPPED = Path(__file__).parents[2] / "tests" / "data" / "reference"


def folder() -> Path:
    """Where the fixtures are."""
    return Path(os.environ.get("CORTICAST_REFERENCE", SHIPPED))


def section(name: str) -> dict[str, Any]:
    """One section of the manifest."""
    manifest: dict[str, Any] = json.loads((folder() / "manifest.json").read_text())
    found: dict[str, Any] = manifest[name]
    return found


def tensors(name: str) -> dict[str, NDArray[Any]]:
    """The tensors of a file that the manifest names."""
    return {key: np.asarray(value) for key, value in load_file(folder() / name).items()}


def differ(found: Any, expected: Any) -> float:
    """The largest difference of two arrays, infinite where one is not a number."""
    apart = np.abs(np.asarray(found, np.float64) - np.asarray(expected, np.float64))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))


def compare(case: str, error: float, tolerance: float) -> None:
    """Prints a case's line, which `make test-reference` shows, and fails beyond the tolerance."""
    verdict = "pass" if error <= tolerance else "FAIL"
    # On a line of its own, after what pytest shows of its progress.
    print(f"\n{case:<40} {error:.3e}  {tolerance:.0e}  {verdict}")
    assert error <= tolerance, f"{case}: {error} is more than {tolerance}"
