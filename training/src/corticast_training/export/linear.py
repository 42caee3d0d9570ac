"""A linear decoder as ONNX: `bold` [1, S, V] → Flatten → Gemm → Softmax → `probabilities`.

The same decoder gives the same bytes: nothing in the file depends on time, place or the order of
a dictionary. The metadata repeat the properties that the daemon compares, so that a file that was
separated from its manifest can still be identified.
"""

import json
from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from corticast_training.errors import TrainingError
from corticast_training.model.linear import LinearDecoder

INPUT, OUTPUT = "bold", "probabilities"
# The newest version that the oldest supported ONNX Runtime reads.
OPSET, IR_VERSION = 17, 8
TOLERANCE = 1e-5


def linear_onnx(
    decoder: LinearDecoder, window_shape: tuple[int, int], metadata: Mapping[str, str]
) -> bytes:
    """The ONNX file of a decoder of windows `[S, V]`; `metadata` becomes `metadata_props`."""
    n_class = len(decoder.bias)
    graph = helper.make_graph(
        nodes=[
            helper.make_node("Flatten", [INPUT], ["flat"], name="flatten", axis=1),
            helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"], name="decode"),
            helper.make_node("Softmax", ["logits"], [OUTPUT], name="softmax", axis=1),
        ],
        name="corticast_linear",
        inputs=[helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, *window_shape])],
        outputs=[helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, n_class])],
        initializer=[
            numpy_helper.from_array(np.ascontiguousarray(decoder.weights), "weights"),
            numpy_helper.from_array(np.ascontiguousarray(decoder.bias), "bias"),
        ],
    )
    model = helper.make_model(
        graph,
        producer_name="corticast-train",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, dict(sorted(metadata.items())))
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def linear_metadata(mask_hash: str, classes: list[str]) -> dict[str, str]:
    """Metadata of the file."""
    return {
        "corticast_format": "1",
        "corticast_mask_hash": mask_hash,
        "corticast_classes": json.dumps(classes, ensure_ascii=False),
    }


def check_in_runtime(model: bytes, decoder: LinearDecoder, window_shape: tuple[int, int]) -> None:
    """Runs the file on random windows.

    Raises `TrainingError` if the file disagrees with the decoder that it was made from.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    windows = np.random.default_rng(0).standard_normal((8, *window_shape)).astype(np.float32)
    expected = decoder.probabilities(windows.reshape(8, -1))
    found = np.concatenate([session.run([OUTPUT], {INPUT: w[None]})[0] for w in windows])
    worst = float(np.abs(found - expected).max())
    # Written so that NaN fails too.
    if not worst <= TOLERANCE:
        raise TrainingError(
            f"ONNX Runtime is off by {worst:g} on random windows, expected at most {TOLERANCE:g}"
        )
