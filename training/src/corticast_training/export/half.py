"""Graphs whose weights are stored in half precision, with inputs and outputs in single precision.

`attach` puts a Cast to f32 behind every halved weight. That is correct, but slow for a table that
is only looked up, and it gains nothing on a GPU. So look-ups use the halved table. With
`compute=True`, products with weights are computed in half precision and their results are cast
back. Everything else (norms, softmax, residuals, attention scores) stays in single precision, as
in training under autocast.
"""

from onnx import GraphProto, NodeProto, TensorProto, helper

_PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose")
_F32, _F16 = TensorProto.FLOAT, TensorProto.FLOAT16


def use_half(graph: GraphProto, *, compute: bool) -> None:
    """Rewrites a graph in place. It has been through `attach`, and no name in it ends in `:f32`."""
    stored = {t.name: t.data_type for t in graph.initializer}
    halved = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "Cast" and stored.get(node.input[0]) == _F16
    }
    nodes: list[NodeProto] = []
    lowered: dict[str, str] = {}
    for node in graph.node:
        read = [k for k, name in enumerate(node.input) if name in halved]
        if node.op_type == "Gather" and read == [0]:
            node.input[0] = halved[node.input[0]]
            nodes += _with_f32_output(node)
        elif compute and node.op_type in _PRODUCTS and read:
            for k, name in enumerate(node.input):
                if not name:
                    continue
                if name in halved:
                    node.input[k] = halved[name]
                    continue
                if name not in lowered:
                    lowered[name] = f"{name}:f16"
                    nodes.append(helper.make_node("Cast", [name], [lowered[name]], to=_F16))
                node.input[k] = lowered[name]
            nodes += _with_f32_output(node)
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    used |= {value.name for value in graph.output}
    kept = [node for node in nodes if node.op_type != "Cast" or node.output[0] in used]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(copies)


def _with_f32_output(node: NodeProto) -> list[NodeProto]:
    """The node, and a Cast whose output has the node's old output name."""
    name = node.output[0]
    node.output[0] = f"{name}:half"
    return [node, helper.make_node("Cast", [node.output[0]], [name], to=_F32)]
