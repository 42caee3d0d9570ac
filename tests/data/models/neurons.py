"""The models `neurons-tiny` and `neurons-nan`: every role of the family, with arithmetic instead of training.

Called by make.py. `neurons-nan` is the same with an object head that gives NaN; beside it lies a
`vae_decoder` that does, for tests that put it in place.
"""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FRAMES, TOKENS, CHANNELS, TEXT, LATENT, MASK, VOXELS = 2, 3, 4, 5, 2, 2, 4
EMBD, LOGITS, STEPS = 2, 530, 10
CLASSES = ["bottle", "cat", "chair"]
# Tokens 512 and up; every other one ends a word.
PAIRS = ["c a", "ca t</w>", "d o", "do g</w>", "a n", "an d</w>"]
CAT, DOG, AND, STOP = 513, 515, 517, 512 + len(PAIRS) + 1
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
NEW = "BSLPHW"  # names of open axes, which differ so that none has to be equal to another


def tensor(name, shape, dtype=FLOAT):
    return helper.make_tensor_value_info(
        name, dtype, [f"{NEW[i]}_{name}" if n == -1 else n for i, n in enumerate(shape)]
    )


class Graph:
    def __init__(self, role, inputs, outputs, classes=()):
        self.role, self.inputs, self.outputs, self.classes = role, inputs, outputs, classes
        self.nodes, self.constants = [], {}

    def __call__(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))

    def const(self, name, value, dtype=np.float32):
        self.constants[name] = np.asarray(value, dtype=dtype)
        return name

    def ints(self, name, value):
        return self.const(name, value, np.int64)

    def save(self, folder, name=None):
        def infos(facts):
            return [tensor(name, shape, INT64 if i64 else FLOAT) for name, shape, i64 in facts]

        graph = helper.make_graph(
            self.nodes,
            self.role,
            infos(self.inputs),
            infos(self.outputs),
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(
            graph,
            producer_name="corticast-tests",
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )
        helper.set_model_props(model, {"corticast.family": "neurons", "corticast.role": self.role})
        onnx.checker.check_model(model)
        (folder / f"{name or self.role}.onnx").write_bytes(model.SerializeToString(deterministic=True))

    def manifest(self, folder):
        def facts(tensors):
            return ", ".join(
                f'{{ name = "{name}", shape = {shape}' + (', dtype = "i64" }' if i64 else " }")
                for name, shape, i64 in tensors
            )

        names = ", ".join(f'"{name}"' for name in self.classes)
        return f"""
[[network]]
role = "{self.role}"
file = "{self.role}.onnx"
sha256 = "{sha256(folder / f"{self.role}.onnx")}"
inputs = [{facts(self.inputs)}]
outputs = [{facts(self.outputs)}]
""" + (f"classes = [{names}]\n" if names else "")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


TOKENS_SHAPE = [-1, TOKENS, CHANNELS]
FRAMES_SHAPE = [-1, FRAMES, TOKENS, CHANNELS]
PAST_SHAPE = [1, 2, -1, 1, -1, EMBD]


def brain():
    """Token n, channel c: voxel c times n + 1."""
    g = Graph("brain", [("bold", [-1, 1, VOXELS], 0)], [("brain_tokens", TOKENS_SHAPE, 0)])
    scale = np.arange(1, TOKENS + 1).reshape(1, TOKENS, 1)
    g("Mul", ["bold", g.const("scale", scale)], "brain_tokens")
    return g


def prior():
    """Half the brain's tokens, a quarter of the noisy ones, a thousandth of the timestep."""
    tokens = [("image_embed", TOKENS_SHAPE, 0), ("timestep", [-1], 1), ("brain_embed", TOKENS_SHAPE, 0)]
    g = Graph("prior", tokens, [("pred_x0", TOKENS_SHAPE, 0)])
    g("Mul", ["brain_embed", g.const("half", 0.5)], "of_brain")
    g("Mul", ["image_embed", g.const("quarter", 0.25)], "of_image")
    g("Cast", ["timestep"], "t", to=FLOAT)
    g("Reshape", ["t", g.ints("column", [-1, 1, 1])], "t_column")
    g("Mul", ["t_column", g.const("thousandth", 0.001)], "of_t")
    g("Add", ["of_brain", "of_image"], "both")
    g("Add", ["both", "of_t"], "pred_x0")
    return g


def motion():
    """Frame f: the tokens times f + 1. The text: mean of the tokens, and their sum as the last number."""
    out = [("frame_tokens", FRAMES_SHAPE, 0), ("text_embed", [-1, TEXT], 0)]
    g = Graph("motion", [("tokens", TOKENS_SHAPE, 0)], out)
    scale = np.arange(1, FRAMES + 1).reshape(1, FRAMES, 1, 1)
    g("Unsqueeze", ["tokens", g.ints("one", [1])], "with_frames")
    g("Mul", ["with_frames", g.const("scale", scale)], "frame_tokens")
    g("ReduceMean", ["tokens"], "mean", axes=[1], keepdims=0)
    projection = np.concatenate([np.eye(CHANNELS), np.ones((CHANNELS, 1))], axis=1)
    g("MatMul", ["mean", g.const("projection", projection)], "text_embed")
    return g


def concepts():
    """The logistic function of the means of the first three channels."""
    g = Graph(
        "concepts",
        [("frame_tokens", FRAMES_SHAPE, 0)],
        [("probabilities", [-1, len(CLASSES)], 0)],
        CLASSES,
    )
    g("ReduceMean", ["frame_tokens"], "mean", axes=[1, 2], keepdims=0)
    g("MatMul", ["mean", g.const("first", np.eye(CHANNELS, len(CLASSES)))], "logits")
    g("Sigmoid", ["logits"], "probabilities")
    return g


def objects(nan):
    """The mean token of a frame as 2x2 pixels, plus the mean of the name's states."""
    inputs = [("frame_tokens", FRAMES_SHAPE, 0), ("text_states", [-1, -1, TEXT], 0)]
    g = Graph("objects", inputs, [("mask_logits", [-1, FRAMES, 1, MASK, MASK], 0)])
    g("ReduceMean", ["frame_tokens"], "mean", axes=[2], keepdims=0)
    g("Reshape", ["mean", g.ints("pixels", [-1, FRAMES, 1, MASK, MASK])], "picture")
    g("ReduceMean", ["text_states"], "name", axes=[1, 2], keepdims=0)
    g("Reshape", ["name", g.ints("column", [-1, 1, 1, 1, 1])], "name_column")
    if nan:
        g("Add", ["picture", "name_column"], "logits")
        g("Add", ["logits", g.const("nan", np.nan)], "mask_logits")
    else:
        g("Add", ["picture", "name_column"], "mask_logits")
    return g


def reconstruction():
    """Channel c of frame f: its mean token's channel c, plus the mean of the text."""
    inputs = [("frame_tokens", FRAMES_SHAPE, 0), ("text_embed", [-1, TEXT], 0)]
    g = Graph("reconstruction", inputs, [("latents", [-1, FRAMES, 4, LATENT, LATENT], 0)])
    g("ReduceMean", ["frame_tokens"], "mean", axes=[2], keepdims=0)
    g("Unsqueeze", ["mean", g.ints("last", [3, 4])], "pixel")
    g("ReduceMean", ["text_embed"], "text", axes=[1], keepdims=0)
    g("Reshape", ["text", g.ints("column", [-1, 1, 1, 1, 1])], "text_column")
    g("Add", ["pixel", "text_column"], "sum")
    g("Mul", ["sum", g.const("ones", np.ones((1, 1, 1, LATENT, LATENT)))], "latents")
    return g


def caption_prefix():
    """The text's first two numbers."""
    g = Graph("caption_prefix", [("clip_text_embed", [-1, TEXT], 0)], [("prefix", [-1, 1, EMBD], 0)])
    g("MatMul", ["clip_text_embed", g.const("first", np.eye(TEXT, EMBD))], "two")
    g("Unsqueeze", ["two", g.ints("one", [1])], "prefix")
    return g


def caption_embed():
    """The id, twice."""
    g = Graph("caption_embed", [("ids", [-1, -1], 1)], [("embeds", [-1, -1, EMBD], 0)])
    g("Cast", ["ids"], "number", to=FLOAT)
    g("Unsqueeze", ["number", g.ints("last", [2])], "column")
    g("Concat", ["column", "column"], "embeds", axis=2)
    return g


def caption_decoder():
    """`cat and dog` where the prefix's first number is larger, else `dog and dog`.

    The token after n others is the largest logit, but for one that is no token of CLIP's.
    """
    inputs = [("inputs_embeds", [-1, -1, EMBD], 0), ("past", PAST_SHAPE, 0)]
    g = Graph("caption_decoder", inputs, [("logits", [-1, LOGITS], 0), ("present", PAST_SHAPE, 0)])
    g("Shape", ["past"], "past_shape")
    g("Gather", ["past_shape", g.ints("four", 4)], "n_past")
    g("Min", ["n_past", g.ints("three", 3)], "n_known")
    g("Gather", [g.const("later", [0, AND, DOG, STOP]), "n_known"], "later_target")
    g("Gather", ["inputs_embeds", g.ints("zero", 0)], "a", axis=2)
    g("Gather", ["inputs_embeds", g.ints("one", 1)], "b", axis=2)
    g("Greater", ["a", "b"], "is_cat")
    g("Where", ["is_cat", g.const("cat", CAT), g.const("dog", DOG)], "first_target")
    g("Equal", ["n_past", "zero"], "is_first")
    g("Where", ["is_first", "first_target", "later_target"], "target")
    g("ReduceMean", ["target"], "of_last", axes=[1], keepdims=1)
    g("Sub", [g.const("ids", np.arange(LOGITS).reshape(1, LOGITS)), "of_last"], "away")
    g("Mul", ["away", "away"], "square")
    g("Neg", ["square"], "near")
    foreign = np.zeros((1, LOGITS))
    foreign[0, STOP + 3] = 1e6
    g("Add", ["near", g.const("foreign", foreign)], "logits")
    g("Unsqueeze", ["inputs_embeds", g.ints("new_axes", [0, 1, 3])], "new")
    g("Concat", ["new", "new"], "key_value", axis=1)
    g("Concat", ["past", "key_value"], "present", axis=4)
    return g


def vae_decoder(nan=False):
    """Three of four channels, each latent as 8x8 pixels. With `nan` every pixel is NaN but that of a
    latent that is zero, so that the trial at the opening, with zeros, succeeds and no clip does."""
    g = Graph("vae_decoder", [("latent", [-1, 4, -1, -1], 0)], [("image", [-1, 3, -1, -1], 0)])
    bounds = [g.ints("first", [0]), g.ints("end", [3]), g.ints("axis", [1])]
    g("Slice", ["latent", *bounds], "three")
    if nan:
        g("Abs", ["three"], "size")
        g("Neg", ["size"], "below_zero")
        g("Sqrt", ["below_zero"], "root")
    g("Resize", ["root" if nan else "three", "", g.const("scales", [1, 1, 8, 8])], "image", mode="nearest")
    return g


def vae_encoder_that_fails():
    """The `vae_encoder` of a video set of 64 pixels, in which ONNX Runtime itself fails as soon as a
    picture is not black: it looks up a place that is not there. As a device that is lost does, it
    shows only when the network is run."""
    picture, latent = [-1, 3, 64, 64], [-1, 4, 8, 8]
    outputs = [("mean", latent, 0), ("logvar", latent, 0)]
    g = Graph("vae_encoder", [("image", picture, 0)], outputs)
    g("Abs", ["image"], "size")
    g("ReduceMax", ["size"], "largest", keepdims=0)
    g("Mul", ["largest", g.const("many", 1000)], "place")
    g("Cast", ["place"], "index", to=7)
    g("Gather", [g.const("one", [0]), "index"], "nothing")
    g("AveragePool", ["image"], "small", kernel_shape=[8, 8], strides=[8, 8])
    bounds = [g.ints("first", [0]), g.ints("end", [1]), g.ints("axis", [1])]
    g("Slice", ["small", *bounds], "red")
    g("Concat", ["small", "red"], "four", axis=1)
    g("Add", ["four", "nothing"], "mean")
    g("Neg", ["mean"], "logvar")
    return g


def class_states(path):
    """Of `bottle` nothing, of `cat` 100 (masks are all 1), of `chair` -100 (all 0); as long as their place."""
    states = np.zeros((len(CLASSES), len(CLASSES), TEXT), dtype="<f4")
    states[1, :2] = 100
    states[2, :3] = -100
    length = np.arange(1, len(CLASSES) + 1, dtype="<i8")
    header = (
        f'{{"length":{{"dtype":"I64","shape":[{len(CLASSES)}],"data_offsets":[0,{length.nbytes}]}},'
        f'"states":{{"dtype":"F32","shape":{list(states.shape)},'
        f'"data_offsets":[{length.nbytes},{length.nbytes + states.nbytes}]}}}}'
    ).replace(" ", "")
    header += " " * (-len(header) % 8)
    path.write_bytes(
        struct.pack("<Q", len(header)) + header.encode() + length.tobytes() + states.tobytes()
    )


def write(folder: Path, head: str, nan=False):
    """Writes a model; `head` is its manifest up to the first network."""
    folder.mkdir(exist_ok=True)
    graphs = [brain(), prior(), motion(), concepts(), objects(nan), reconstruction()]
    graphs += [caption_prefix(), caption_embed(), caption_decoder(), vae_decoder()]
    for graph in graphs:
        graph.save(folder)
    if nan:
        vae_decoder(nan).save(folder, "vae_nan")
        vae_encoder_that_fails().save(folder, "encoder_fails")
    states, vocabulary = folder / "class_states.safetensors", folder / "vocabulary.txt.gz"
    class_states(states)
    vocabulary.write_bytes(gzip.compress("\n".join(["#version: 0.2", *PAIRS, ""]).encode(), mtime=0))
    (folder / "manifest.toml").write_text(
        head
        + "".join(graph.manifest(folder) for graph in graphs)
        + f"""
[neurons]
n_frame = {FRAMES}
n_token = {TOKENS}
channels = {CHANNELS}
text_dim = {TEXT}
latent = {LATENT}
mask = {MASK}
prior_steps = {STEPS}
prior_schedule = "cosine"
class_states = "{states.name}"
class_states_sha256 = "{sha256(states)}"
caption_tokens = 6
stop_id = {STOP}
vocabulary = "{vocabulary.name}"
vocabulary_sha256 = "{sha256(vocabulary)}"
caption_layers = 1
caption_heads = 1
caption_embd = {EMBD}

[provenance]
made_by = "tests/data/models/make.py"
"""
    )
