"""Traces one graph, attaches its weights, writes it and has it checked in ONNX Runtime.

Uses PyTorch's older exporter with parameters left as inputs. The exporter then never writes them
to a file of its own, and ONNX's limit of 2 GB does not apply. `video/attach.py` does the rest.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper
from torch import Tensor, nn

from corticast_training.export.border import declare, dynamic_axes
from corticast_training.export.check import compare
from corticast_training.export.graph import Graph
from corticast_training.export.half import use_half
from corticast_training.export.weights import linear_weights, write_weights
from corticast_training.video.attach import Source, attach
from corticast_training.video.weights import Stored

OPSET = 18
EXTERNAL_ABOVE_BYTES = 2 * 10**9
"""ONNX files end at 2 GiB; beyond this, weights lie beside them."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where and how a graph is written."""

    folder: Path
    precision: str
    external_above_bytes: int
    metadata: Mapping[str, str]
    shared_file: Path | None = None
    """Weights that several graphs read, written before them."""
    shared_index: Mapping[str, Stored] | None = None


def write_graph(graph: Graph, target: Target) -> dict[str, Any]:
    """Writes `<role>.onnx`, and `<role>.data` if it is large. Returns the facts for the manifest.

    Raises `TrainingError` if ONNX Runtime disagrees with PyTorch.
    """
    network = graph.network.eval()
    model = _trace(graph)
    own = {k: v for k, v in network.state_dict().items() if k not in graph.shared}
    data = target.folder / f"{graph.role}.data"
    index = write_weights(
        own, data, transposed=linear_weights(network), half=target.precision != "fp32"
    )
    embed = data.stat().st_size <= target.external_above_bytes
    sources = [Source(_PREFIX, data, index, embed)]
    if graph.shared:
        assert target.shared_file is not None and target.shared_index is not None
        shared = {name: target.shared_index[key] for name, key in graph.shared.items()}
        sources.append(Source(_PREFIX, target.shared_file, shared, embed=False))
    external = attach(model, (b.name for b in graph.inputs), sources, compact=False)
    if target.precision != "fp32":
        use_half(model.graph, compute=target.precision == "fp16")
    declare(model.graph, graph.inputs, graph.outputs)
    helper.set_model_props(model, dict(sorted(target.metadata.items())))
    path = target.folder / f"{graph.role}.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    if data not in external:
        data.unlink()
    nodes = len(model.graph.node)
    del model
    onnx.checker.check_model(str(path))
    return {
        "role": graph.role,
        "file": path.name,
        "external": [file.name for file in external],
        "inputs": [border.entry() for border in graph.inputs],
        "outputs": [border.entry() for border in graph.outputs],
        "classes": list(graph.classes),
        "nodes": nodes,
        "error": check(path, graph, target.precision),
    }


def check(path: Path, graph: Graph, precision: str) -> float:
    """Compares a written file with its network on random input at all of the graph's lengths."""
    cases = []
    for seed, lengths in enumerate(graph.lengths):
        inputs = graph.example(lengths, seed)
        outputs = graph.run(inputs)
        cases.append(([t.numpy() for t in inputs], [t.numpy() for t in outputs]))
    return compare(path, graph.role, (graph.inputs, graph.outputs), cases, precision)


_PREFIX = "network."


class _Root(nn.Module):
    """Prefixes the names of all weights, so that `attach` knows which network they belong to."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        found: Tensor | tuple[Tensor, ...] = self.network(*inputs)
        return found


def _trace(graph: Graph) -> onnx.ModelProto:
    buffer: Any = io.BytesIO()  # The exporter takes one, but its type hints do not allow it
    with torch.no_grad():
        torch.onnx.export(
            _Root(graph.network).eval(),
            graph.example(graph.lengths[0], seed=0),
            buffer,
            input_names=[border.name for border in graph.inputs],
            output_names=[border.name for border in graph.outputs],
            dynamic_axes=dynamic_axes((*graph.inputs, *graph.outputs)),
            opset_version=OPSET,
            dynamo=False,
            export_params=False,
            do_constant_folding=False,
        )
    return onnx.load_model_from_string(buffer.getvalue())
