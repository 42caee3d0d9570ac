"""Runs an exported file in ONNX Runtime and compares it with the network it was made from.

PyTorch runs first and has finished before the session is opened, so that the two never hold
the weights at the same time.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from corticast_training.errors import TrainingError
from corticast_training.export.border import Border

TOLERANCE = {"fp32": 1e-4, "fp16": 5e-3, "fp16-storage": 5e-3}
"""Largest difference, relative to the largest expected value of the output."""

Array = NDArray[np.generic]


def compare(
    path: Path,
    role: str,
    borders: tuple[Sequence[Border], Sequence[Border]],
    cases: Sequence[tuple[Sequence[Array], Sequence[Array]]],
    precision: str,
) -> float:
    """The largest error over cases of (inputs, expected outputs).

    Raises `TrainingError` if an error is above the tolerance or NaN, or if a shape differs.
    """
    inputs, outputs = borders
    session = open_session(path)
    worst, bound = 0.0, TOLERANCE[precision]
    for given, expected in cases:
        feeds = {border.name: value for border, value in zip(inputs, given, strict=True)}
        found = session.run([border.name for border in outputs], feeds)
        for border, value, truth in zip(outputs, found, expected, strict=True):
            if value.shape != truth.shape:
                raise TrainingError(
                    f"{role}: {border.name} is {list(value.shape)} in ONNX Runtime, "
                    f"expected {list(truth.shape)}"
                )
            error = relative_error(value, truth)
            # Written so that NaN fails too.
            if not error <= bound:
                shapes = zip(inputs, given, strict=True)
                sizes = ", ".join(f"{border.name} {list(v.shape)}" for border, v in shapes)
                raise TrainingError(
                    f"{role}: {border.name} is off by {error:g} of its largest value in ONNX "
                    f"Runtime at {sizes}, expected at most {bound:g}"
                )
            worst = max(worst, error)
    return worst


def relative_error(found: Array, expected: Array) -> float:
    """Largest difference over the largest expected magnitude; NaN if either contains NaN."""
    if expected.size == 0:
        return 0.0
    wide = np.asarray(expected, dtype=np.float64)
    difference = np.abs(np.asarray(found, dtype=np.float64) - wide).max()
    return float(difference / max(float(np.abs(wide).max()), 1e-12))


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """A session on the CPU with PyTorch's number of threads and as little memory as possible."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # Both would copy weights that are mapped from their file.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions have no common base
        raise TrainingError(f"{path.name}: ONNX Runtime cannot read it: {error}") from error
