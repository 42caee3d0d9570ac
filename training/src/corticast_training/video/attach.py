"""From a traced graph without weights to an ONNX file: constants folded, weights attached.

The exporter leaves parameters as inputs (so it never has to hold them in a file), shape
arithmetic unfolded, and names of a hundred characters. Here parameters become initialisers,
embedded or as external data; what depends on constants only is computed; equal constants are
shared; and names are shortened where a file should be small.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from corticast_training.errors import TrainingError
from corticast_training.video.weights import Stored

Array = NDArray[Any]

_FOLDABLE = {
    "Add", "Cast", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Gather", "Mul",
    "Range", "Reshape", "Shape", "Slice", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze",
    "Where",
}  # fmt: skip
_FOLD_LIMIT = 4096
"""Elements of a folded constant: a larger one costs more in the file than in the session."""


@dataclass(frozen=True)
class Source:
    """The weights of one network of a graph."""

    prefix: str
    """Of its parameters' names in the graph: the wrapper's attribute and a dot."""
    file: Path
    index: Mapping[str, Stored]
    embed: bool


def attach(
    model: onnx.ModelProto, inputs: Iterable[str], sources: list[Source], *, compact: bool
) -> list[Path]:
    """Completes a traced model in place; `inputs` are its true ones.

    Returns the weight files that it refers to.
    """
    graph, true_inputs = model.graph, set(inputs)
    for node in graph.node:
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise TrainingError(f"{node.name}: a {node.op_type} in the graph, expected none")
    parameters = [value for value in graph.input if value.name not in true_inputs]
    declared = {value.name: value.type.tensor_type.elem_type for value in parameters}
    _drop_identities(graph)
    _read_transposed(graph, {name for name in declared if _stored(sources, name)[1].transposed})
    for value in parameters:
        dims = _stored(sources, value.name)[1].shape
        value.CopyFrom(helper.make_tensor_value_info(value.name, declared[value.name], dims))
    constants = _fold(model)
    _replace(graph.input, [value for value in graph.input if value.name in true_inputs])

    used = {name for node in graph.node for name in node.input}
    casts: list[NodeProto] = []
    external: list[Path] = []
    for name, elem_type in declared.items():
        if name not in used:
            continue
        source, stored = _stored(sources, name)
        tensor = _initialiser(source, stored, name)
        if tensor.data_type != elem_type:
            tensor.name = f"{name}:{stored.dtype}"
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=elem_type))
        graph.initializer.append(tensor)
        if not source.embed and source.file not in external:
            external.append(source.file)
    for name, value in constants.items():
        if name in used:
            graph.initializer.append(numpy_helper.from_array(value, name))
    _replace(graph.node, [*casts, *graph.node])
    del graph.value_info[:]
    if compact:
        _shorten(graph)
    return external


def _replace(field: Any, values: list[Any]) -> None:
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)


def _stored(sources: list[Source], name: str) -> tuple[Source, Stored]:
    for source in sources:
        key = name.removeprefix(source.prefix)
        if key != name and key in source.index:
            return source, source.index[key]
    raise TrainingError(f"the graph reads {name!r}, which no assembled network has")


def _initialiser(source: Source, stored: Stored, name: str) -> TensorProto:
    tensor = TensorProto(name=name, dims=stored.shape)
    tensor.data_type = helper.np_dtype_to_tensor_dtype(np.dtype(stored.dtype))
    if source.embed:
        with source.file.open("rb") as file:
            file.seek(stored.offset)
            tensor.raw_data = file.read(stored.length)
    else:
        tensor.data_location = TensorProto.EXTERNAL
        where = {"location": source.file.name, "offset": stored.offset, "length": stored.length}
        for key, value in where.items():
            tensor.external_data.add(key=key, value=str(value))
    return tensor


def _drop_identities(graph: GraphProto) -> None:
    """Equal parameters reach the graph as one and its copies."""
    outputs = {value.name for value in graph.output}
    same: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for k, name in enumerate(node.input):
            node.input[k] = same.get(name, name)
        if node.op_type == "Identity" and node.output[0] not in outputs:
            same[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    _replace(graph.node, kept)


def _read_transposed(graph: GraphProto, transposed: set[str]) -> None:
    """Adapts the readers of Linear weights, which lie in their files as `[in, out]`."""
    same: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for k, name in enumerate(node.input):
            node.input[k] = same.get(name, name)
        read = [k for k, name in enumerate(node.input) if name in transposed]
        if not read or node.op_type == "MatMul":
            kept.append(node)
        elif node.op_type == "Transpose":
            same[node.output[0]] = node.input[0]
        elif node.op_type == "Gemm" and read == [1]:
            for attribute in node.attribute:
                if attribute.name == "transB":
                    attribute.i = 1 - attribute.i
            kept.append(node)
        else:
            raise TrainingError(
                f"{node.name}: a {node.op_type} reads the weight {node.input[read[0]]!r}, "
                "expected MatMul or Gemm"
            )
    _replace(graph.node, kept)


def _fold(model: onnx.ModelProto) -> dict[str, Array]:
    """Computes what depends on constants and fixed shapes only.

    A folded constant lets shape inference get further, so both repeat until nothing changes.
    """
    graph = model.graph
    constants: dict[str, Array] = {}
    n_node = len(graph.node) + 1
    while len(graph.node) < n_node:
        n_node = len(graph.node)
        constants |= _fold_once(graph, constants, _fixed_shapes(model, constants))
    return constants


def _fixed_shapes(
    model: onnx.ModelProto, constants: Mapping[str, Array]
) -> dict[str, tuple[int, ...]]:
    """Shapes that are the same whatever runs, as far as inference gets."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    whole.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    inferred = onnx.shape_inference.infer_shapes(whole, data_prop=True).graph
    found = {}
    for value in (*inferred.value_info, *inferred.input):
        tensor = value.type.tensor_type
        dims = tensor.shape.dim
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            found[value.name] = tuple(dim.dim_value for dim in dims)
    return found


def _fold_once(
    graph: GraphProto, constants: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Array]:
    """One pass in the order of the nodes. Equal constants get one name."""
    outputs = {value.name for value in graph.output}
    known = dict(constants)
    first = {_content(value): name for name, value in known.items()}
    same: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for k, name in enumerate(node.input):
            node.input[k] = same.get(name, name)
        value = None if node.output[0] in outputs else _value(node, known, shapes)
        if value is None:
            kept.append(node)
            continue
        name = first.setdefault(_content(value), node.output[0])
        same[node.output[0]] = name
        known[name] = value
    _replace(graph.node, kept)
    return known


def _content(value: Array) -> tuple[str, tuple[int, ...], bytes]:
    return value.dtype.str, value.shape, value.tobytes()


def _value(
    node: NodeProto, known: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]
) -> Array | None:
    if node.op_type == "Constant":
        return numpy_helper.to_array(node.attribute[0].t)
    if node.op_type == "Shape" and node.input[0] in shapes and not node.attribute:
        return np.array(shapes[node.input[0]], dtype=np.int64)
    if node.op_type not in _FOLDABLE or any(name and name not in known for name in node.input):
        return None
    if not node.input:
        return None
    feeds = {name: known[name] for name in node.input if name}
    found: Any = ReferenceEvaluator(node).run(None, feeds)
    value = np.asarray(found[0])
    return value if value.size <= _FOLD_LIMIT else None


def _shorten(graph: GraphProto) -> None:
    """Short names for everything but inputs and outputs, none for nodes."""
    names: dict[str, str] = {value.name: value.name for value in (*graph.input, *graph.output)}
    names[""] = ""

    def short(name: str) -> str:
        return names.setdefault(name, f"v{len(names):x}")

    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    for node in graph.node:
        node.name = ""
        for mentioned in (node.input, node.output):
            for k, name in enumerate(mentioned):
                mentioned[k] = short(name)
