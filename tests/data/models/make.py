"""Writes the small models of this folder. Weights are chosen so that results can be checked by hand.

    python3 -m venv VENV && VENV/bin/pip install onnx numpy blake3
    VENV/bin/python make.py
"""

import gzip
import hashlib
import json
import struct
from pathlib import Path

import blake3
import neurons
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
LN2, LN8 = np.log(2.0), np.log(8.0)


def diagonal(size_mm, origin_mm=(0.0, 0.0, 0.0)):
    affine = np.diag([*size_mm, 1.0])
    affine[:3, 3] = origin_mm
    return affine


def full_mask_hash(matrix, affine):
    """BLAKE3 over matrix, affine, and each voxel index with its weight, as the wire specification says."""
    voxels = np.empty(int(np.prod(matrix)), dtype=[("index", "<u4"), ("weight", "<f4")])
    voxels["index"] = np.arange(len(voxels))
    voxels["weight"] = 1.0
    digest = blake3.blake3()
    digest.update(struct.pack("<3I", *matrix))
    # Adding 0.0 turns -0.0 into 0.0.
    digest.update(struct.pack("<16d", *(np.round(affine, 6) + 0.0).ravel()))
    digest.update(voxels.tobytes())
    return digest.hexdigest()


def write_network(path, nodes, initializers, in_shape, out_shape):
    graph = helper.make_graph(
        nodes,
        path.parent.name,
        [helper.make_tensor_value_info("bold", TensorProto.FLOAT, in_shape)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, out_shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in initializers.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="corticast-tests",
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    helper.set_model_props(model, {"corticast.family": "linear"})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def manifest_head(folder, family, matrix, affine, tr_s):
    """A manifest up to its first network, for a mask of all voxels."""
    rows = ",\n    ".join(str([float(value) for value in row]) for row in affine)
    return f"""\
# Written by ../make.py.
format = 2
family = "{family}"
name = "{folder.name}"
subject = "01"

[mask]
hash = "{full_mask_hash(matrix, affine)}"
n_voxel = {int(np.prod(matrix))}
matrix = {list(matrix)}
affine = [
    {rows},
]

[signal]
repetition_time_s = {tr_s}
hrf_delay_s = 0.0
shift = "nearest"
window_volumes = 1

[normalise]
mode = "none"
"""


def write_manifest(folder, matrix, affine, tr_s, classes):
    n_voxel = int(np.prod(matrix))
    sha256 = hashlib.sha256((folder / "decoder.onnx").read_bytes()).hexdigest()
    names = ", ".join(f'"{name}"' for name in classes)
    (folder / "manifest.toml").write_text(
        manifest_head(folder, "linear", matrix, affine, tr_s)
        + f"""
[[network]]
role = "decoder"
file = "decoder.onnx"
sha256 = "{sha256}"
inputs = [{{ name = "bold", shape = [1, 1, {n_voxel}] }}]
outputs = [{{ name = "probabilities", shape = [1, {len(classes)}] }}]
classes = [{names}]

[provenance]
made_by = "tests/data/models/make.py"
"""
    )


def write_mask(path, matrix, affine):
    """A NIfTI-1 of uint8 ones, with the affine as sform."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *matrix, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 2, 8)
    struct.pack_into("<8f", header, 76, 1, *np.linalg.norm(affine[:3, :3], axis=0), 1, 0, 0, 0)
    struct.pack_into("<3f", header, 108, 352, 1, 0)
    header[123] = 2  # millimetres
    struct.pack_into("<2h", header, 252, 0, 1)  # no qform; sform to the scanner
    struct.pack_into("<12f", header, 280, *affine[:3].ravel())
    header[344:348] = b"n+1\0"
    path.write_bytes(gzip.compress(bytes(header) + b"\1" * int(np.prod(matrix)), mtime=0))


def linear(in_voxels=4, extra=()):
    """softmax(bold · W): one voxel at 1 moves one class by a factor of 2, the last one class 0 by 8."""
    weights = np.zeros((in_voxels, 3), dtype=np.float32)
    weights[[0, 1, 2], [0, 1, 2]] = LN2
    weights[3, 0] = LN8
    out = "softmax" if extra else "probabilities"
    nodes = [
        helper.make_node("Flatten", ["bold"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [out], axis=1),
        *extra,
    ]
    return nodes, {"weights": weights}


def main():
    small, small_affine = (2, 2, 1), diagonal((3, 3, 3))
    animals = ["bottle", "cat", "chair"]

    for name, in_voxels in [("linear-3x4", 4), ("wrong-shape", 5), ("nan", 4), ("no-softmax", 4)]:
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        extra, more = (), {}
        if name == "nan":
            extra = (helper.make_node("Add", ["softmax", "nan"], ["probabilities"]),)
            more = {"nan": np.array([[0, np.nan, 0]], dtype=np.float32)}
        nodes, initializers = linear(in_voxels, extra)
        if name == "no-softmax":
            nodes = [nodes[0], helper.make_node("MatMul", ["flat", "weights"], ["probabilities"])]
        write_network(
            folder / "decoder.onnx", nodes, initializers | more, [1, 1, in_voxels], [1, 3]
        )
        # `wrong-shape`: the manifest says 4 voxels, the network takes 5.
        write_manifest(folder, small, small_affine, 2.0, animals)

    fails("fails", small, small_affine, animals)

    for name in ["neurons-tiny", "neurons-nan"]:
        head = manifest_head(HERE / name, "neurons", small, small_affine, 2.0)
        neurons.write(HERE / name, head, nan=name == "neurons-nan")

    noop("noop-64x64x32", (64, 64, 32), diagonal((3, 3, 3), (-96, -96, -48)), 0.1)
    # The affine of ../dicom/skyra.dcm.gz, as a NIfTI header holds it.
    scans = json.loads((HERE.parent / "dicom/nibabel.json").read_text())
    skyra = np.float32(scans["skyra"]["affine"]).astype(np.float64)
    noop("noop-64x64x27", (64, 64, 27), skyra, 1.5)


def fails(name, matrix, affine, classes):
    """`linear` in which ONNX Runtime itself fails as soon as a voxel is beyond ±4096: it looks up a
    place that is not there. As a lost device does, it shows only when the network is run."""
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    nodes, initializers = linear()
    nodes = [
        helper.make_node("Abs", ["bold"], ["size"]),
        helper.make_node("ReduceMax", ["size"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "small"], ["place"]),
        helper.make_node("Cast", ["place"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["zero", "index"], ["nothing"]),
        *nodes[:2],
        helper.make_node("Add", ["logits", "nothing"], ["sum"]),
        helper.make_node("Softmax", ["sum"], ["probabilities"], axis=1),
    ]
    initializers |= {"small": np.float32(1 / 4096), "zero": np.zeros(1, dtype=np.float32)}
    write_network(folder / "decoder.onnx", nodes, initializers, [1, 1, 4], [1, 3])
    write_manifest(folder, matrix, affine, 2.0, classes)


def noop(name, matrix, affine, tr_s):
    """The softmax of the first two voxels of a whole volume, and the mask of all its voxels."""
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    nodes = [
        helper.make_node("Slice", ["bold", "first", "end", "axes"], ["two"]),
        helper.make_node("Flatten", ["two"], ["flat"], axis=1),
        helper.make_node("Softmax", ["flat"], ["probabilities"], axis=1),
    ]
    axes = {"first": np.array([0]), "end": np.array([2]), "axes": np.array([2])}
    write_network(folder / "decoder.onnx", nodes, axes, [1, 1, int(np.prod(matrix))], [1, 2])
    write_manifest(folder, matrix, affine, tr_s, ["first", "second"])
    write_mask(folder / "mask.nii.gz", matrix, affine)


if __name__ == "__main__":
    main()
