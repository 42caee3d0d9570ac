"""Runs an exported graph in ONNX Runtime and compares it with PyTorch.

The error is the largest difference relative to the largest value, per output. Guidance multiplies
an error of its two halves: e_u + g (e_c - e_u) is off by up to (|1 - g| + g) times as much, and
that is the tolerance there; at g = 1 the plain one holds.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from corticast_training.errors import TrainingError
from corticast_training.video.graphs import Graph

TOLERANCE = {"fp32": 1e-4, "fp16-storage": 1e-4, "fp16": 5e-3}


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """A session on the CPU with as many threads as PyTorch uses, quiet but for errors."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def compare(
    graph: Graph,
    session: onnxruntime.InferenceSession,
    network: nn.Module,
    inputs: Sequence[Tensor],
    precision: str,
) -> float:
    """The largest error over its tolerance's factor. Raises `TrainingError` above the tolerance.

    `network` computes in fp32 with the weights of the graph; `inputs` are in the graph's types.
    """
    worst = 0.0
    for changed, factor in _guidances(graph, inputs):
        feeds = {
            border.name: np.asarray(tensor.numpy())
            for border, tensor in zip(graph.inputs, changed, strict=True)
        }
        found = session.run(None, feeds)
        with torch.no_grad():
            expected = network(*(t.float() if t.dtype == torch.float16 else t for t in changed))
        for border, value, truth in zip(
            graph.outputs, found, expected if isinstance(expected, tuple) else (expected,),
            strict=True,
        ):  # fmt: skip
            error = relative_error(value, truth.numpy()) / factor
            # Written so that NaN fails too.
            if not error <= TOLERANCE[precision]:
                raise TrainingError(
                    f"{border.name} is off by {error * factor:g} of its largest "
                    f"value in ONNX Runtime, expected at most {TOLERANCE[precision] * factor:g}"
                )
            worst = max(worst, error)
    return worst


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference over the largest expected magnitude."""
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64)).max()
    return float(difference / max(float(np.abs(expected).max()), 1e-12))


def _guidances(graph: Graph, inputs: Sequence[Tensor]) -> list[tuple[list[Tensor], float]]:
    position = next((k for k, b in enumerate(graph.inputs) if b.name == "guidance"), None)
    if position is None:
        return [(list(inputs), 1.0)]
    found = []
    for guidance in (1.0, float(inputs[position])):
        changed = list(inputs)
        changed[position] = torch.tensor(guidance)
        found.append((changed, abs(1 - guidance) + guidance))
    return found
