"""Inputs and outputs of an exported graph: names, shapes and types, as in the manifest.

An axis whose size is known only when the graph runs has a word instead of a size. Within one graph
the same word means the same length. A sum such as `past+step` is an axis that grows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from corticast_training.errors import TrainingError

ONNX_TYPES = {"f32": onnx.TensorProto.FLOAT, "i64": onnx.TensorProto.INT64}


@dataclass(frozen=True)
class Border:
    """One input or output of a graph."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "f32"

    def sizes(self, words: Mapping[str, int]) -> tuple[int, ...]:
        """The shape with a length in place of every word."""
        return tuple(
            axis if isinstance(axis, int) else sum(words[word] for word in axis.split("+"))
            for axis in self.shape
        )

    def entry(self) -> dict[str, Any]:
        """The entry in the manifest."""
        shape = [axis if isinstance(axis, int) else -1 for axis in self.shape]
        entry: dict[str, Any] = {"name": self.name, "shape": shape}
        if self.dtype != "f32":
            entry["dtype"] = self.dtype
        return entry


def dynamic_axes(borders: Iterable[Border]) -> dict[str, dict[int, str]]:
    """The dynamic axes in the form that PyTorch's exporter takes."""
    return {
        border.name: {k: axis for k, axis in enumerate(border.shape) if isinstance(axis, str)}
        for border in borders
    }


def declare(graph: onnx.GraphProto, inputs: Iterable[Border], outputs: Iterable[Border]) -> None:
    """Writes names, types and shapes into a graph; the exporter leaves some of them open."""
    for found, borders in ((graph.input, list(inputs)), (graph.output, list(outputs))):
        names = [value.name for value in found]
        if names != [border.name for border in borders]:
            raise TrainingError(
                f"the traced graph has {', '.join(names)}, "
                f"expected {', '.join(border.name for border in borders)}"
            )
        for value, border in zip(found, borders, strict=True):
            kind = value.type.tensor_type
            if kind.elem_type != ONNX_TYPES[border.dtype]:
                raise TrainingError(f"{border.name} was traced with another type than its own")
            del kind.shape.dim[:]
            for axis in border.shape:
                if isinstance(axis, int):
                    kind.shape.dim.add(dim_value=axis)
                else:
                    kind.shape.dim.add(dim_param=axis)
