"""Feeds a million small volumes to the daemon, then restarts, exports and replays the recording.

    python tests/benches/million.py --build target/release --folder FOLDER

Needs about 2 GB in `--folder`, which must not exist. Prints one line of JSON for each 50,000
volumes (resident memory of the daemon, time for a volume), then the growth of both, then a line
for each command with its time and peak memory. Ends with an error when a volume, a result or a
line is missing, or when the replay differs from the session. A NIfTI-1 image holds at most 32,767
volumes, so the export of an image is refused for more.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import msgpack
import nibabel
import numpy as np
import zmq
from measured import Daemon

ROOT = Path(__file__).resolve().parents[2]
MATRIX = (8, 8, 6)
AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
VOXELS = [(1, 1, 1), (3, 4, 2), (5, 2, 3), (6, 6, 4)]
TR_S = 0.1
# Volumes that are sent and not acknowledged yet.
WINDOW = 48
EVERY = 50_000
# A NIfTI-1 file holds no more volumes.
MOST_IN_IMAGE = 32_767


def make_site(folder: Path, build: Path) -> None:
    """Writes a mask of four voxels, a linear model for it, and a configuration."""
    folder.mkdir(parents=True)
    mask = np.zeros(MATRIX, dtype=np.uint8)
    for voxel in VOXELS:
        mask[voxel] = 1
    nibabel.save(nibabel.Nifti1Image(mask, AFFINE), folder / "mask.nii.gz")
    model = folder / "model"
    model.mkdir()
    shipped = ROOT / "tests/data/models/linear-3x4"
    shutil.copy(shipped / "decoder.onnx", model)
    text = (shipped / "manifest.toml").read_text()
    text = text.replace("[2, 2, 1]", str(list(MATRIX)))
    text = text.replace("repetition_time_s = 2.0", f"repetition_time_s = {TR_S}")
    text = text.replace('mode = "none"', 'mode = "growing"')
    (model / "manifest.toml").write_text(text)
    wire = "\n".join(
        f'{socket} = "tcp://127.0.0.1:0"' for socket in ("adapter", "publish", "query", "control")
    )
    (folder / "site.toml").write_text(
        f'[wire]\n{wire}\nhttp = "127.0.0.1:0"\n[signal]\nmask = "mask.nii.gz"\n'
        '[model]\ndir = "model"\ndevice = "cpu"\n'
    )
    # The daemon names the hash of the mask when it differs from the model's.
    check = [build / "corticast", "check", "--config", folder / "site.toml"]
    said = subprocess.run(check, capture_output=True, text=True, check=False)
    known = re.search(r'hash = "([0-9a-f]{64})"', text)[1]
    hashes = set(re.findall(r"[0-9a-f]{64}", said.stdout + said.stderr)) - {known}
    if len(hashes) != 1:
        raise SystemExit(f"no hash of the mask in: {said.stdout}{said.stderr}")
    (model / "manifest.toml").write_text(text.replace(known, hashes.pop()))


def ask(query: zmq.Socket, what: str) -> object:
    """The daemon's answer to a query."""
    query.send_multipart([what.encode(), b"json"])
    return json.loads(query.recv_multipart()[1])


def feed(daemon: Daemon, n_volume: int) -> list[tuple[int, int, float]]:
    """Sends a run without its end. Returns (volumes, resident bytes, seconds) now and then."""
    context = zmq.Context.instance()
    adapter = context.socket(zmq.DEALER)
    adapter.connect(daemon.endpoints["adapter"])
    header = {
        "protocol": 1, "session": "bench", "run": {"sub": "bench", "task": "million"},
        "repetition_time_s": TR_S, "matrix": MATRIX, "affine": AFFINE.tolist(),
        "source": "bench", "series_id": "bench",
    }  # fmt: skip
    adapter.send_multipart([b"run", json.dumps(header).encode()])
    kind, answer = adapter.recv_multipart()[:2]
    if kind != b"ready":
        raise SystemExit(f"{kind!r} {answer!r}")
    answer = json.loads(answer) if answer[:1] == b"{" else msgpack.unpackb(answer)
    run = answer["run"]
    rng = np.random.default_rng(3)
    different = [rng.integers(400, 600, MATRIX).astype("<i2").tobytes() for _ in range(997)]
    sent = acknowledged = 0
    samples, started = [], time.monotonic()
    while acknowledged < n_volume:
        while sent < min(n_volume, acknowledged + WINDOW):
            head = b'{"run":"%s","index":%d,"dtype":"<i2","order":"F"}' % (run.encode(), sent)
            adapter.send_multipart([b"vol", head, different[sent % len(different)]])
            sent += 1
        kind, answer = adapter.recv_multipart()[:2]
        if kind == b"refused":
            raise SystemExit(f"refused: {answer!r}")
        if kind == b"ack":
            acknowledged += 1
            if acknowledged % EVERY == 0 or acknowledged == n_volume:
                sample = (acknowledged, daemon.bytes_of("VmRSS"), time.monotonic() - started)
                samples.append(sample)
                keys = ("volumes", "resident_bytes", "s")
                print(json.dumps(dict(zip(keys, sample, strict=True))), flush=True)
    query = context.socket(zmq.DEALER)
    query.connect(daemon.endpoints["query"])
    while (last := ask(query, "last/concepts")) is None or last["index"] != n_volume - 1:
        time.sleep(0.2)
    time.sleep(1)
    return samples


def growth(samples: list[tuple[int, int, float]]) -> dict[str, float]:
    """Growth of memory for a volume, and of the time for a volume, from linear fits."""
    volumes, resident, seconds = (
        np.array(column, dtype=float) for column in zip(*samples, strict=True)
    )
    each = np.diff(seconds) / np.diff(volumes) * 1e6
    middle = (volumes[1:] + volumes[:-1]) / 2
    slope, start = np.polyfit(middle, each, 1)
    return {
        "resident_bytes_per_volume": np.polyfit(volumes, resident, 1)[0],
        "us_per_volume": float(np.median(each)),
        "us_per_volume_first_fifth": float(np.median(each[: max(1, len(each) // 5)])),
        "us_per_volume_last_fifth": float(np.median(each[-max(1, len(each) // 5) :])),
        "growth_of_time": slope * (middle[-1] - middle[0]) / start,
    }


def timed(what: str, command: list[object], is_refused: bool = False) -> None:
    """Runs a command to its end. Prints its time and peak memory."""
    started = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if (process.returncode != 0) != is_refused:
        raise SystemExit(f"{what} ended with exit code {process.returncode}")
    took = {"command": what, "s": time.monotonic() - started}
    took["peak_mb"] = used.ru_maxrss * 1024 / 1e6
    took |= {"is_refused": True} if is_refused else {}
    print(json.dumps(took), flush=True)


def same(a: Path, b: Path) -> int:
    """Checks that two files of results are equal, except for times. Returns the number of lines."""

    def content(line: str) -> dict[str, object]:
        return {key: value for key, value in json.loads(line).items() if not key.endswith("_ns")}

    n_line = 0
    with a.open() as left, b.open() as right:
        for one, other in zip(left, right, strict=True):
            if one != other and content(one) != content(other):
                raise SystemExit(f"{a} and {b} differ: {one}{other}")
            n_line += 1
    return n_line


def main() -> None:
    """Feeds, kills, restarts, exports and replays."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="folder of the programs")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--volumes", type=int, default=999_999)
    arguments = parser.parse_args()
    if arguments.volumes < 4 * EVERY:
        parser.error(f"--volumes is {arguments.volumes}, expected {4 * EVERY} or more for a fit")
    build, folder = arguments.build.resolve(), arguments.folder.resolve()
    make_site(folder, build)
    daemon = Daemon(build, folder)
    samples = feed(daemon, arguments.volumes)
    print(json.dumps(growth(samples)), flush=True)
    daemon.stop(signal.SIGKILL)
    n_byte = sum(file.stat().st_size for file in folder.glob("session*.mcap"))
    daemon = Daemon(build, folder)
    figures = {"command": "restart", "s": daemon.ready_s, "recording_mb": n_byte / 1e6}
    figures |= {"peak_mb": daemon.bytes_of("VmHWM") / 1e6}
    figures |= {"resident_mb": daemon.bytes_of("VmRSS") / 1e6}
    print(json.dumps(figures), flush=True)
    daemon.stop(signal.SIGTERM)
    recording, program = folder / "session.mcap", build / "corticast"
    exported, replayed = folder / "exported.jsonl", folder / "replayed.jsonl"
    timed("export --jsonl", [program, "export", recording, "--jsonl", exported])
    command = [program, "export", recording, "--nifti", folder / "run.nii.gz"]
    timed("export --nifti", command, is_refused=arguments.volumes > MOST_IN_IMAGE)
    command = [program, "replay", "--config", folder / "site.toml", "--run", recording]
    timed("replay", [*command, "--results", replayed])
    results = folder / "results.jsonl"
    n_result = same(results, exported)
    same(results, replayed)
    print(json.dumps({"results": n_result}), flush=True)
    if arguments.volumes <= MOST_IN_IMAGE:
        n_image = nibabel.load(folder / "run.nii.gz").shape[3]
        if n_image != arguments.volumes:
            raise SystemExit(f"the image holds {n_image} volumes of {arguments.volumes}")


if __name__ == "__main__":
    main()
