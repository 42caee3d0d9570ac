"""Times restarts: from the start of the process to `ready`, for one or several builds.

    python tests/benches/restart.py --build now=target/release --volumes 300 --window-s 0.5

Records a session of noise (64x64x32 int16) with a model that takes `--window-s` a window, waits
for its last result, kills the daemon with SIGKILL, and starts it again. Prints one line of JSON
for each restart. Builds take turns, so that a disturbance affects all of them.
`docs/benchmarks.md` quotes the figures by hand, because one run of `make bench` cannot compare
two builds.
"""

import argparse
import hashlib
import json
import re
import shutil
import signal
import time
from pathlib import Path

import msgpack
import numpy as np
import onnx
import zmq
from measured import Daemon
from onnx import TensorProto, helper, numpy_helper

MATRIX = (64, 64, 32)
AFFINE = [
    [3.0, 0.0, 0.0, -96.0],
    [0.0, 3.0, 0.0, -96.0],
    [0.0, 0.0, 3.0, -48.0],
    [0.0, 0.0, 0.0, 1.0],
]
ROOT = Path(__file__).resolve().parents[2]


def slow_model(folder: Path, window_s: float) -> None:
    """Copies the no-op model with a decoder of as many matrix products as fill `window_s`."""
    source = ROOT / "tests/data/models/noop-64x64x32"
    shutil.copytree(source, folder)
    n, seconds_each = 1024, 0.03
    products = max(1, round(window_s / seconds_each)) if window_s > 0 else 0
    rng = np.random.default_rng(1)
    weights = {
        "square": (rng.normal(size=(n, n)) / 32).astype(np.float32),
        "first": np.array([0], dtype=np.int64),
        "shape": np.array([1, -1], dtype=np.int64),
        "two": np.array([0, 1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Reshape", ["bold", "shape"], ["flat"]),
        helper.make_node("Gather", ["flat", "two"], ["pair"], axis=1),
        helper.make_node("Gather", ["flat", "first"], ["one"], axis=1),
        helper.make_node("Add", ["square", "one"], ["y0"]),
    ]
    for i in range(products):
        nodes.append(helper.make_node("MatMul", [f"y{i}", "square"], [f"z{i}"]))
        nodes.append(helper.make_node("Tanh", [f"z{i}"], [f"y{i + 1}"]))
    nodes.append(helper.make_node("ReduceMean", [f"y{products}"], ["mean"], keepdims=0))
    nodes.append(helper.make_node("Add", ["pair", "mean"], ["logits"]))
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    voxels = int(np.prod(MATRIX))
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("bold", TensorProto.FLOAT, [1, 1, voxels])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "decoder.onnx")
    digest = hashlib.sha256((folder / "decoder.onnx").read_bytes()).hexdigest()
    manifest = (folder / "manifest.toml").read_text()
    manifest = re.sub(r'sha256 = "[0-9a-f]+"', f'sha256 = "{digest}"', manifest)
    (folder / "manifest.toml").write_text(manifest.replace('mode = "none"', 'mode = "growing"'))


def record(daemon: Daemon, volumes: int) -> None:
    """Sends a run without its end, and waits until all volumes are acknowledged and decoded."""
    context = zmq.Context.instance()
    adapter = context.socket(zmq.DEALER)
    adapter.connect(daemon.endpoints["adapter"])
    header = {
        "protocol": 1, "session": "bench", "run": {"sub": "bench", "task": "restart"},
        "repetition_time_s": 0.1, "matrix": MATRIX, "affine": AFFINE, "n_volumes": None,
        "source": "bench", "series_id": "bench",
    }  # fmt: skip
    header = {key: value for key, value in header.items() if value is not None}
    adapter.send_multipart([b"run", json.dumps(header).encode()])
    kind, answer = adapter.recv_multipart()[:2]
    if kind != b"ready":
        raise SystemExit(f"{kind!r} {answer!r}")
    answer = json.loads(answer) if answer[:1] == b"{" else msgpack.unpackb(answer)
    run = answer["run"]
    rng = np.random.default_rng(3)
    different = [
        np.clip(rng.normal(500, 18, MATRIX), 0, 2000).astype("<i2").tobytes() for _ in range(64)
    ]
    sent = acknowledged = 0
    while acknowledged < volumes:
        while sent < min(volumes, acknowledged + 16):
            head = {"run": run, "index": sent, "dtype": "<i2", "order": "F"}
            adapter.send_multipart([b"vol", json.dumps(head).encode(), different[sent % 64]])
            sent += 1
        if adapter.recv_multipart()[0] == b"ack":
            acknowledged += 1
    query = context.socket(zmq.DEALER)
    query.connect(daemon.endpoints["query"])
    while True:
        query.send_multipart([b"last/concepts", b"json"])
        last = json.loads(query.recv_multipart()[1])
        if last and last["index"] == volumes - 1:
            break
        time.sleep(0.2)
    time.sleep(0.5)


def main() -> None:
    """Records once for each build, then restarts the builds in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--volumes", type=int, default=300)
    parser.add_argument("--window-s", type=float, default=0.5)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    builds = dict(build.split("=", 1) for build in arguments.build)
    folders = {}
    for name, build in builds.items():
        folder = folders[name] = arguments.folder / name
        folder.mkdir(parents=True)
        slow_model(folder / "model", arguments.window_s)
        wire = "\n".join(
            f'{socket} = "tcp://127.0.0.1:0"'
            for socket in ("adapter", "publish", "query", "control")
        )
        (folder / "site.toml").write_text(
            f'[wire]\n{wire}\nhttp = "127.0.0.1:0"\n[signal]\nmask = "{folder}/model/mask.nii.gz"\n'
            f'[model]\ndir = "{folder}/model"\ndevice = "cpu"\n'
        )
        daemon = Daemon(Path(build), folder, "recording.disk_check=warn")
        first_s = daemon.ready_s
        started = time.monotonic()
        record(daemon, arguments.volumes)
        took_s = time.monotonic() - started
        daemon.stop(signal.SIGKILL)
        print(
            json.dumps({"build": name, "empty_start_s": first_s, "recorded_in_s": took_s}),
            flush=True,
        )
    for _ in range(arguments.restarts):
        for name, build in builds.items():
            files = sorted(folders[name].glob("session*.mcap"))
            before = sum(file.stat().st_size for file in files)
            daemon = Daemon(Path(build), folders[name], "recording.disk_check=warn")
            memory_mb = daemon.bytes_of("VmRSS") / 1e6
            daemon.stop(signal.SIGKILL)
            files = sorted(folders[name].glob("session*.mcap"))
            after = sum(file.stat().st_size for file in files)
            figure = {"build": name, "ready_s": daemon.ready_s, "recording_gb": before / 1e9}
            figure |= {"extra_bytes": after - before, "resident_mb": memory_mb}
            print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
