"""Traces one graph, attaches its weights, writes it and checks it in ONNX Runtime.

PyTorch's older exporter: it alone exports the motion UNet with dynamic axes, and its static
graphs are as good as the newer one's after optimisation. It is deprecated, so PyTorch's version
is pinned.
"""

import io
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper
from torch import Tensor, nn

from corticast_training.errors import TrainingError
from corticast_training.video.assemble import Assembled, load_assembled
from corticast_training.video.attach import Source, attach
from corticast_training.video.check import compare, open_session
from corticast_training.video.config import VideoConfig
from corticast_training.video.graphs import (
    OTHER,
    TRACE_BATCH,
    TRACE_LATENT,
    Border,
    Graph,
    dynamic_axes,
    examples,
    plan,
)
from corticast_training.video.weights import read_index

OPSET = 18


def trace_graph(job: dict[str, Any]) -> dict[str, Any]:
    """One graph, in a process of its own. Returns its entry of `video.toml`."""
    config = VideoConfig(**job["config"])
    work, out = Path(job["work"]), Path(job["out"])
    precision, assembled = job["precision"], Assembled(**job["assembled"])
    graph = next(g for g in plan(config, **job["plan"]) if g.role == job["role"])
    networks = {
        attribute: load_assembled(work, source, precision)
        for attribute, source in graph.sources.items()
    }
    wrapper = graph.build(*networks.values()).eval()
    dynamic = bool(job["plan"]["dynamic"])
    sizes = _trace_sizes(config, dynamic)
    inputs = _inputs(graph, wrapper, config, assembled, sizes, 0, precision)
    model = _trace(graph, wrapper, inputs)

    sources = []
    for attribute, source in graph.sources.items():
        index = read_index(work / f"{source}.json")
        embed = sum(stored.length for stored in index.values()) <= job["embed_below_bytes"]
        sources.append(Source(f"{attribute}.", out / f"{source}.data", index, embed))
    external = attach(model, (b.name for b in graph.inputs), sources, compact=job["compact"])
    with torch.no_grad():
        traced = wrapper(*inputs)
    outputs = traced if isinstance(traced, tuple) else (traced,)
    entry = {
        "inputs": [_entry(b, t) for b, t in zip(graph.inputs, inputs, strict=True)],
        "outputs": [_entry(b, t) for b, t in zip(graph.outputs, outputs, strict=True)],
    }
    _declare(model, entry)
    helper.set_model_props(
        model,
        {
            "corticast_format": "1",
            "corticast_family": "animatediff",
            "corticast_role": graph.role,
            "corticast_precision": precision,
            "corticast_set": job["set"],
        },
    )
    path = out / f"{graph.role}.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(path))

    session = open_session(path)
    reference = wrapper.float()
    tried = [(sizes, 1)]
    other = {k: v for k, v in OTHER.items() if dynamic or k in ("batch", "n")}
    tried.append((sizes | other, 2))
    error = 0.0
    for these, seed in tried:
        check_inputs = _inputs(graph, reference, config, assembled, these, seed, precision)
        error = max(error, compare(graph, session, reference, check_inputs, precision))
    return {
        "role": graph.role,
        "file": path.name,
        "external": [file.name for file in external],
        **entry,
        "error": error,
    }


def _trace(graph: Graph, wrapper: nn.Module, inputs: tuple[Tensor, ...]) -> onnx.ModelProto:
    buffer = io.BytesIO()
    torch.onnx.export(
        wrapper,
        inputs,
        buffer,  # type: ignore[arg-type]  # declared as a path, takes a file as well
        input_names=[border.name for border in graph.inputs],
        output_names=[border.name for border in graph.outputs],
        dynamic_axes=dynamic_axes((*graph.inputs, *graph.outputs)),
        opset_version=OPSET,
        dynamo=False,
        # Parameters stay inputs: no copy of them in the exporter, no limit of 2 GB.
        export_params=False,
        do_constant_folding=False,
    )
    return onnx.load_model_from_string(buffer.getvalue())


def _trace_sizes(config: VideoConfig, dynamic: bool) -> dict[str, int]:
    edge = TRACE_LATENT if dynamic else config.latent
    return {
        "batch": TRACE_BATCH,
        "n": TRACE_BATCH,
        "frames": config.frames,
        "height": edge,
        "width": edge,
    }


def _inputs(
    graph: Graph,
    wrapper: nn.Module,
    config: VideoConfig,
    assembled: Assembled,
    sizes: dict[str, int],
    seed: int,
    precision: str,
) -> tuple[Tensor, ...]:
    """Example inputs; residuals are unit normal in the shapes that the UNet adds them to."""
    sizes = sizes | {
        "image_height": 8 * sizes["height"],
        "image_width": 8 * sizes["width"],
    }
    dtype = torch.float16 if precision == "fp16" else torch.float32
    residuals: list[Tensor] = []
    if any(None in border.shape for border in graph.inputs):
        sample = graph.inputs[0].shape
        batch, _, frames, height, width = (
            size if isinstance(size, int) else sizes[str(size)] for size in sample
        )
        generator = torch.Generator().manual_seed(seed + 1000)
        for channels, shrink in zip(assembled.channels, assembled.shrinks, strict=True):
            shape = (batch * frames, channels, height // shrink, width // shrink)
            residuals.append(torch.randn(shape, generator=generator).to(dtype))
    return examples(graph, sizes, seed, dtype, residuals)


def _entry(border: Border, tensor: Tensor) -> dict[str, Any]:
    shape = [
        -1 if isinstance(size, str) else found
        for size, found in zip(border.shape, tensor.shape, strict=True)
    ]
    for size, found in zip(border.shape, tensor.shape, strict=True):
        if isinstance(size, int) and size != found:
            raise TrainingError(f"{border.name} is {list(tensor.shape)}, expected {border.shape}")
    entry: dict[str, Any] = {"name": border.name, "shape": shape}
    if border.dtype != "f32":
        entry["dtype"] = border.dtype
    return entry


def _declare(model: onnx.ModelProto, entry: dict[str, Any]) -> None:
    """Writes the shapes into the file, dynamic axes with words of their own."""
    for field, key in ((model.graph.input, "inputs"), (model.graph.output, "outputs")):
        for value, described in zip(field, entry[key], strict=True):
            if value.name != described["name"]:
                raise TrainingError(f"the graph has {value.name!r} for {described['name']!r}")
            dims = value.type.tensor_type.shape
            del dims.dim[:]
            for axis, size in enumerate(described["shape"]):
                if size < 0:
                    dims.dim.add(dim_param=f"{value.name}_{axis}")
                else:
                    dims.dim.add(dim_value=size)
