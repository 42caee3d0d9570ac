"""A long session: daemon, adapter, a subscriber and Prometheus, with one restart of the daemon.

    python tests/benches/soak.py --build target/release --folder /tmp/soak --volumes 720000

Runs by the clock: 720,000 volumes at a TR of 0.01 s take 2 h. A simulated scanner (16x16x8 int16)
feeds a linear model of 300 voxels; everything is recorded. At `--restart-at` of the run the daemon
gets SIGTERM and is started again with the same recording. Every `--every` seconds a line of JSON
goes to `samples.jsonl`: memory, CPU time, sizes of files, the daemon's counters, and what the
subscriber received. At the end the recording is replayed and exported, and `report.json` says what
was lost, how memory grew and how long each step took. `docs/benchmarks.md` quotes the figures by
hand.

Needs `CORTICAST_ONNXRUNTIME`, and `prometheus` (`make deps`) unless `--prometheus none`.
"""

import argparse
import hashlib
import itertools
import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import msgpack
import nibabel
import numpy as np
import onnx
import zmq
from onnx import TensorProto, helper, numpy_helper

VOXELS = 300
CLASSES = ["bottle", "cat", "chair"]
# Each of these counts something that was lost. `messages_refused` does not: volumes that reach a
# restarted daemon before their run are refused as `unknown_run` and sent again.
LOSSES = {
    "volumes_missing", "volumes_late", "volumes_dropped", "volumes_unrecorded", "recording_errors",
    "output_dropped", "stage_errors",
}  # fmt: skip
COUNTERS = LOSSES | {
    "volumes_received", "volumes_duplicate", "volumes_deferred", "messages_refused",
    "results_published", "recording_bytes",
}  # fmt: skip
GAUGES = {"messages_waiting", "signal_path_load_ratio", "adapters_connected"}
MANIFEST = """format = 2
family = "linear"
name = "soak"
subject = "demo"
[mask]
hash = "{mask_hash}"
n_voxel = {n_voxel}
matrix = {matrix}
affine = {affine}
[signal]
repetition_time_s = {tr_s}
hrf_delay_s = 4.0
shift = "nearest"
window_volumes = 1
[normalise]
mode = "growing"
warm_up_volumes = 6
[[network]]
role = "decoder"
file = "decoder.onnx"
sha256 = "{sha256}"
inputs = [{{ name = "bold", shape = [1, 1, {n_voxel}] }}]
outputs = [{{ name = "probabilities", shape = [1, {n_class}] }}]
classes = {classes}
[provenance]
made_by = "tests/benches/soak.py"
"""


def free_ports(n: int) -> list[int]:
    """Ports of the loopback that are free now. A restarted daemon needs the same ones."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [bound.getsockname()[1] for bound in sockets]
    for bound in sockets:
        bound.close()
    return ports


def linear_network(n_voxel: int) -> onnx.ModelProto:
    """The softmax of a matrix product with random weights."""
    weights = np.random.default_rng(1).normal(0, 0.1, (n_voxel, len(CLASSES))).astype(np.float32)
    flat = np.array([1, n_voxel], dtype=np.int64)
    nodes = [
        helper.make_node("Reshape", ["bold", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "soak",
        [helper.make_tensor_value_info("bold", TensorProto.FLOAT, [1, 1, n_voxel])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, len(CLASSES)])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(flat, "shape")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def make_site(build: Path, folder: Path, scan: list[str], tr_s: float) -> dict[str, str]:
    """Makes mask, model and configuration in `folder`. Returns the endpoints."""
    write = [build / "corticast-adapter", *scan, "--volumes", "2", "--write", folder / "made"]
    subprocess.run(write, check=True, stderr=subprocess.DEVNULL)
    brain = nibabel.load(folder / "made/mask.nii.gz")
    inside = np.zeros(brain.shape, dtype=np.int16)
    inside.flat[np.flatnonzero(np.asarray(brain.dataobj))[:VOXELS]] = 1
    nibabel.save(nibabel.Nifti1Image(inside, brain.affine), folder / "mask.nii.gz")

    model = folder / "model"
    model.mkdir()
    network = linear_network(int(inside.sum())).SerializeToString()
    (model / "decoder.onnx").write_bytes(network)
    filled = {"n_voxel": inside.sum(), "matrix": list(brain.shape), "affine": brain.affine.tolist()}
    filled |= {"tr_s": tr_s, "n_class": len(CLASSES), "classes": json.dumps(CLASSES)}
    filled["sha256"] = hashlib.sha256(network).hexdigest()

    *zmq_ports, http_port = free_ports(5)
    names = ["adapter", "publish", "query", "control"]
    endpoints = dict(zip(names, [f"tcp://127.0.0.1:{port}" for port in zmq_ports], strict=True))
    endpoints["http"] = f"127.0.0.1:{http_port}"
    wire = "\n".join(f'{name} = "{endpoint}"' for name, endpoint in endpoints.items())
    (folder / "site.toml").write_text(
        f'[wire]\n{wire}\n[signal]\nmask = "mask.nii.gz"\n[model]\ndir = "model"\ndevice = "cpu"\n'
    )

    def check(mask_hash: str) -> subprocess.CompletedProcess:
        (model / "manifest.toml").write_text(MANIFEST.format(mask_hash=mask_hash, **filled))
        command = [build / "corticast", "check", "--config", folder / "site.toml"]
        return subprocess.run(command, capture_output=True, text=True)

    # `check` quotes the hash of the mask when it is not the model's.
    wrong = "0" * 64
    found = set(re.findall(r"\b[0-9a-f]{64}\b", check(wrong).stderr)) - {wrong}
    checked = check(*found)
    if checked.returncode:
        raise SystemExit(checked.stderr)
    return endpoints


class Topic:
    """What the subscriber received of one topic."""

    def __init__(self, volumes: int) -> None:
        self.seen = np.zeros(volumes, np.uint8)
        self.messages = self.lost = self.before_joined = self.starts = self.expected = 0

    def take(self, header: dict) -> None:
        """Counts a message. `sequence` starts at 0 again when the daemon does."""
        sequence = header["sequence"]
        if self.messages == 0 or sequence < self.expected:
            self.starts += 1
            self.before_joined += sequence
        else:
            self.lost += sequence - self.expected
        self.expected = sequence + 1
        self.messages += 1
        self.seen[header["index"]] += 1

    def counts(self) -> dict:
        """Losses by sequence number, and indices that came never or more than once."""
        came = np.flatnonzero(self.seen)
        first, last = (int(came[0]), int(came[-1])) if len(came) else (0, -1)
        gaps, twice = int((self.seen[first : last + 1] == 0).sum()), int((self.seen > 1).sum())
        names = ("messages", "lost", "before_joined", "starts")
        counts = {name: getattr(self, name) for name in names}
        return counts | {"first": first, "last": last, "gaps": gaps, "twice": twice}


def subscribe(endpoint: str, volumes: int, every_s: float, pipe) -> None:
    """The subscriber, in a process of its own. Sends its counts through `pipe` every `every_s`.

    After `end` it sends its last counts, then the latency of each result in ns.
    """
    sub = zmq.Context.instance().socket(zmq.SUB)
    sub.setsockopt(zmq.RECONNECT_IVL, 20)
    sub.connect(endpoint)
    topics = {b"volume": Topic(volumes), b"concepts": Topic(volumes)}
    for name in topics:
        sub.subscribe(name)
    latency_ns = np.zeros(volumes, np.int64)
    interval_ns: list[int] = []
    longest_gap_ns = last_ns = 0
    due = time.monotonic() + every_s
    while True:
        over = pipe.poll() and pipe.recv() == "end"
        if over or time.monotonic() >= due:
            due = time.monotonic() + every_s
            line: dict = {name.decode(): topic.counts() for name, topic in topics.items()}
            if interval_ns:
                figures = np.percentile(interval_ns, [50, 99, 100]) / 1e6
                line |= dict(zip(["p50_ms", "p99_ms", "max_ms"], figures, strict=True))
            pipe.send(line | {"longest_gap_s": longest_gap_ns / 1e9})
            interval_ns, longest_gap_ns = [], 0
        if over:
            pipe.send(latency_ns)
            return
        if not sub.poll(200):
            continue
        name, payload = sub.recv_multipart()[:2]
        arrived_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)  # the daemon's clock too
        if name not in topics:
            continue
        header = msgpack.unpackb(payload)
        topics[name].take(header)
        if name == b"concepts":
            latency_ns[header["index"]] = arrived_ns - header["received_ns"]
            interval_ns.append(arrived_ns - header["received_ns"])
            longest_gap_ns = max(longest_gap_ns, arrived_ns - (last_ns or arrived_ns))
            last_ns = arrived_ns


def figures_of(pid: int) -> dict:
    """Memory in bytes and CPU time in seconds of a process; nothing if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return {}
    names = {"resident": "VmRSS", "anonymous": "RssAnon", "peak": "VmHWM"}
    found = {key: re.search(rf"{name}:\s+(\d+)", status) for key, name in names.items()}
    memory = {key: int(kilobytes[1]) * 1024 for key, kilobytes in found.items() if kilobytes}
    ticks = int(fields[11]) + int(fields[12])
    return memory | {"cpu_s": ticks / os.sysconf("SC_CLK_TCK")} if memory else {}


def size(file: Path) -> int:
    """Bytes of a file; 0 if it has just been removed."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0


def without_times(value):
    """A result without the keys that end in `_ns`."""
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if not key.endswith("_ns")}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def differing_lines(one: Path, other: Path) -> dict:
    """How many lines of two results files differ, apart from readings of the clock."""
    lines, differ = 0, []
    with one.open() as left, other.open() as right:
        for pair in itertools.zip_longest(left, right):
            lines += 1
            parts = [text and without_times(json.loads(text)) for text in pair]
            if parts[0] != parts[1]:
                differ.append(lines)
    return {"lines": lines, "differ": len(differ), "first": differ[:5]}


class Soak:
    """The processes of one session, and the report about them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.folder = arguments, arguments.folder
        self.folder.mkdir(parents=True)
        self.daemon = self.adapter = self.prometheus = None
        self.report: dict = {"volumes": arguments.volumes, "tr_s": arguments.tr, "ready_s": []}
        self.counters = dict.fromkeys(sorted(COUNTERS), 0.0)
        self.samples: list[dict] = []
        self.lives = 0

    def start(self, program: str | Path, log: str, *arguments: str | Path) -> subprocess.Popen:
        """Starts a program whose messages go to a log in the folder."""
        command = [str(part) for part in (program, *arguments)]
        return subprocess.Popen(command, stderr=(self.folder / log).open("ab"))

    def start_prometheus(self) -> None:
        """A Prometheus that scrapes the daemon once a second."""
        (self.folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
            f"- {{job_name: soak, static_configs: [{{targets: ['{self.endpoints['http']}']}}]}}\n"
        )
        address = f"127.0.0.1:{free_ports(1)[0]}"
        self.prometheus_url = f"http://{address}/api/v1/query?"
        flags = {
            "config.file": self.folder / "prometheus.yml",
            "storage.tsdb.path": self.folder / "tsdb",
            "web.listen-address": address,
        }
        flags = [f"--{name}={value}" for name, value in flags.items()]
        self.prometheus = self.start(self.arguments.prometheus, "prometheus.log", *flags)

    def start_daemon(self) -> None:
        """Starts the daemon and waits until it is ready."""
        ready = self.folder / "endpoints.json"
        ready.unlink(missing_ok=True)
        files = ["--record", self.folder / "session.mcap"]
        files += ["--results", self.folder / "results.jsonl", "--endpoints", ready]
        started = time.monotonic()
        program = self.arguments.build / "corticast"
        site = ["--config", self.folder / "site.toml"]
        self.daemon = self.start(program, "daemon.log", "run", *site, *files)
        while not ready.exists():
            if self.daemon.poll() is not None:
                raise SystemExit((self.folder / "daemon.log").read_text()[-3000:])
            time.sleep(0.002)
        self.report["ready_s"].append(time.monotonic() - started)
        self.lives += 1

    def stop_daemon(self) -> None:
        """Takes the daemon's last counters and ends it with SIGTERM."""
        self.sample()
        for name in COUNTERS:
            self.counters[name] += self.samples[-1]["metrics"].get(name, 0.0)
        self.daemon.send_signal(signal.SIGTERM)
        self.report.setdefault("daemon_exits", []).append(self.daemon.wait())

    def metrics(self) -> dict[str, float]:
        """The daemon's counters and gauges of interest, summed over their labels."""
        try:
            with urllib.request.urlopen(
                f"http://{self.endpoints['http']}/metrics", timeout=5
            ) as got:
                text = got.read().decode()
        except OSError:
            return {}
        sums: dict[str, float] = {}
        pattern = r"^corticast_(\w+?)(?:_total)?(?:\{[^}]*\})? (\S+)$"
        for name, value in re.findall(pattern, text, re.MULTILINE):
            if name in COUNTERS | GAUGES:
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def sample(self) -> None:
        """Adds a line to `samples.jsonl`."""
        line: dict = {"at_s": round(time.monotonic() - self.started, 3), "life": self.lives}
        for name in ("daemon", "adapter", "prometheus"):
            process = getattr(self, name)
            line[name] = figures_of(process.pid) if process else {}
        line["metrics"] = self.metrics()
        line["subscriber"] = []
        while self.pipe.poll():
            line["subscriber"].append(self.pipe.recv())
        files = [*self.folder.glob("session*.mcap"), *self.folder.glob("results*.jsonl")]
        line["bytes"] = {file.name: size(file) for file in files}
        line["bytes"]["state"] = sum(map(size, (self.folder / "state").rglob("*")))
        line["load"] = os.getloadavg()[0]
        self.samples.append(line)
        with (self.folder / "samples.jsonl").open("a") as out:
            out.write(json.dumps(line) + "\n")

    def run(self) -> None:
        """The session: samples until the adapter ends, and restarts the daemon once."""
        wanted = self.arguments
        tr, build = str(wanted.tr), wanted.build
        scan = ["synthetic", "--matrix", "16x16x8", "--tr", tr]
        self.endpoints = make_site(build, self.folder, scan, wanted.tr)
        if wanted.prometheus != "none":
            self.start_prometheus()
        self.start_daemon()
        self.pipe, theirs = multiprocessing.Pipe()
        given = (self.endpoints["publish"], wanted.volumes, wanted.every, theirs)
        subscriber = multiprocessing.Process(target=subscribe, args=given, daemon=True)
        subscriber.start()
        time.sleep(2)
        scan += ["--volumes", str(wanted.volumes), "--connect", self.endpoints["adapter"]]
        scan += ["--state", self.folder / "state"]
        self.adapter = self.start(build / "corticast-adapter", "adapter.log", *scan)
        self.started = due = time.monotonic()
        restart = self.started + wanted.volumes * wanted.tr * wanted.restart_at
        while self.adapter.poll() is None:
            if self.daemon.poll() is not None:
                raise SystemExit(f"the daemon ended with {self.daemon.returncode}, see daemon.log")
            if self.lives == 1 and time.monotonic() >= restart:
                self.stop_daemon()
                self.start_daemon()
            elif time.monotonic() >= due:
                due += wanted.every
                self.sample()
            time.sleep(0.1)
        self.report["adapter_exit"] = self.adapter.returncode
        self.report["took_s"] = time.monotonic() - self.started
        time.sleep(2)
        self.stop_daemon()
        self.pipe.send("end")
        received = [self.pipe.recv()]
        while not isinstance(received[-1], np.ndarray):
            received.append(self.pipe.recv())
        self.report["subscriber"] = received[-2]
        self.report["latency_ms"] = self.latency(received[-1])
        if self.prometheus:
            self.report["prometheus"] = self.ask_prometheus()

    def latency(self, each_ns: np.ndarray) -> dict:
        """Received to arrived at the subscriber."""
        names = ["p50", "p99", "p99.9", "max"]
        figures = np.percentile(each_ns[each_ns > 0], [50, 99, 99.9, 100]) / 1e6
        return dict(zip(names, figures.round(3).tolist(), strict=True))

    def ask_prometheus(self) -> dict:
        """How many scrapes there were, how many failed, and how long the slowest took."""
        span = f"[{int(self.report['took_s']) + 60}s]"
        questions = {
            "scrapes": f"count_over_time(up{span})",
            "failed": f"count_over_time(up{span}) - sum_over_time(up{span})",
            "slowest_s": f"max_over_time(scrape_duration_seconds{span})",
        }
        answers = {}
        for name, question in questions.items():
            url = self.prometheus_url + urllib.parse.urlencode({"query": question})
            with urllib.request.urlopen(url, timeout=10) as answer:
                result = json.load(answer)["data"]["result"]
            answers[name] = float(result[0]["value"][1]) if result else None
        return answers

    def growth(self, life: int) -> dict:
        """Growth in bytes a volume: a line through the samples of a life but its first minute."""
        lines = [line for line in self.samples if line["life"] == life and line["metrics"]]
        lines = [line for line in lines if line["at_s"] > lines[0]["at_s"] + 60 and line["adapter"]]
        if len(lines) < 3:
            return {}
        volumes = [line["metrics"]["volumes_received"] for line in lines]
        growth: dict = {"life": life, "volumes": volumes[-1] - volumes[0]}
        for name in ("daemon", "adapter"):
            for kind in ("resident", "anonymous"):
                memory = [line[name][kind] for line in lines]
                slope = round(float(np.polyfit(volumes, memory, 1)[0]), 1)
                half = len(lines) // 2
                late = round(float(np.polyfit(volumes[half:], memory[half:], 1)[0]), 1)
                figures = {"first": memory[0], "last": memory[-1], "a_volume": slope}
                growth[f"{name}_{kind}"] = figures | {"a_volume_in_second_half": late}
        return growth

    def finish(self) -> None:
        """Replay, export, and the rest of the report."""
        self.report["growth"] = [self.growth(life + 1) for life in range(self.lives)]
        self.report["counters"] = self.counters
        self.report["losses"] = {
            name: self.counters[name] for name in LOSSES if self.counters[name]
        }
        recording, results = self.folder / "session.mcap", self.folder / "results.jsonl"
        again, exported = self.folder / "again.jsonl", self.folder / "exported.jsonl"
        site = ["--config", self.folder / "site.toml"]
        self.time("replay", *site, "--run", recording, "--results", again)
        self.time("export", recording, "--jsonl", exported)
        self.report["replay_and_results"] = differing_lines(results, again)
        self.report["export_and_results_are_equal"] = exported.read_bytes() == results.read_bytes()

    def time(self, command: str, *arguments: str | Path) -> None:
        """Runs a command of the daemon's binary: seconds, exit code and peak of memory."""
        program, started, peak = self.arguments.build / "corticast", time.monotonic(), 0
        process = self.start(program, f"{command}.log", command, *arguments)
        while process.poll() is None:
            peak = max(peak, figures_of(process.pid).get("peak", 0))
            time.sleep(0.02)
        took_s = round(time.monotonic() - started, 2)
        self.report[command] = {"exit": process.returncode, "took_s": took_s, "peak_bytes": peak}

    def end(self) -> None:
        """Writes the report and ends whatever still runs."""
        (self.folder / "report.json").write_text(json.dumps(self.report, indent=1) + "\n")
        for process in (self.adapter, self.daemon, self.prometheus):
            if process and process.poll() is None:
                process.kill()


def main() -> None:
    """One session from start to report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="folder of the binaries")
    parser.add_argument("--folder", type=Path, required=True, help="new folder for all files")
    parser.add_argument("--volumes", type=int, default=720_000)
    parser.add_argument("--tr", type=float, default=0.01, help="seconds")
    parser.add_argument("--every", type=float, default=10, help="seconds between samples")
    parser.add_argument("--restart-at", type=float, default=0.5, help="share of the run; 2: never")
    parser.add_argument("--prometheus", default="prometheus", help="program, or none")
    soak = Soak(parser.parse_args())
    try:
        soak.run()
        soak.finish()
    finally:
        soak.end()
    print(json.dumps(soak.report, indent=1))


if __name__ == "__main__":
    main()
