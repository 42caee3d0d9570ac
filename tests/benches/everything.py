"""Feeds 100,000 volumes to a daemon with every stage on: memory and time a volume.

    python tests/benches/everything.py --build target/release --folder FOLDER [--volumes NUMBER]

Slice timing, realignment, smoothing, denoising (24 motion parameters, a nuisance mask, cosines),
a model, and feedback of two regions; recorded. Needs `corticast-train` beside this Python. Prints
one line of JSON for each tenth of the run: resident memory, and the mean time of the signal path
for a volume; then the growth of both from the second tenth to the last.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from measured import Daemon

MATRIX = "16x16x12"
STAGES = (
    "slice_timing",
    "realign",
    "smooth",
    "spatial_mask",
    "denoise",
    "gap_fill",
    "normalise",
    "hemodynamic_shift",
    "decoder",
)
TR_S = 1.0


def site(folder: Path, n_volume: int) -> None:
    """Writes the configuration and the blocks of the feedback."""
    times = ", ".join(f"{k % 2 * 0.5 + k * 0.02:.2f}" for k in range(12))
    sockets = "\n".join(
        f'{socket} = "tcp://127.0.0.1:0"' for socket in ("adapter", "publish", "query", "control")
    )
    (folder / "site.toml").write_text(f"""
[wire]
{sockets}
http = "127.0.0.1:0"
[signal]
mask = "raw/mask.nii.gz"
[slice_timing]
times_s = [{times}]
[realign]
[smooth]
fwhm_mm = 12.0
[denoise]
high_pass_s = 300.0
motion = "24"
nuisance = ["raw/roi-shoe.nii.gz"]
[feedback]
events = "events.tsv"
smoothing_s = 2.0
[feedback.source]
kind = "roi_difference"
plus = "face"
minus = "house"
[feedback.rois]
face = "raw/roi-face.nii.gz"
house = "raw/roi-house.nii.gz"
""")
    rows = ["onset\tduration\ttrial_type"]
    kinds = ("baseline", "regulate", "rest")
    n_block = int(n_volume * TR_S / 20)
    rows += [f"{20 * k}\t20\t{kinds[k % 3]}" for k in range(n_block)]
    (folder / "events.tsv").write_text("\n".join(rows) + "\n")


def busy_s(daemon: Daemon) -> tuple[float, int]:
    """Seconds that all stages took so far, and volumes received."""
    url = daemon.endpoints["http"].rstrip("/") + "/metrics"
    with urllib.request.urlopen(url) as answer:
        text = answer.read().decode()
    took = sum(
        float(found[1])
        for stage in STAGES
        for found in re.finditer(
            rf'corticast_stage_duration_seconds_sum{{stage="{stage}"}} (\S+)', text
        )
    )
    found = re.search(r"corticast_volumes_received_total (\d+)", text)
    return took, int(found[1]) if found else 0


def main() -> None:
    """Trains a model with the stages on, then runs the session."""
    parser = argparse.ArgumentParser(description="100,000 volumes with every stage on.")
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--volumes", type=int, default=100_000)
    args = parser.parse_args()
    args.folder.mkdir(parents=True)
    build, folder = args.build.resolve(), args.folder.resolve()

    def run(*command: object) -> None:
        subprocess.run([str(part) for part in command], check=True, cwd=folder, capture_output=True)

    adapter = [build / "corticast-adapter", "synthetic", "--matrix", MATRIX, "--motion-mm", "2"]
    run(*adapter, "--write", "raw", "--runs", "2", "--volumes", "120")
    site(folder, args.volumes)
    runs = [f"--run=raw/sub-demo_task-shapes_run-{n}_bold.nii.gz" for n in (1, 2)]
    run(build / "corticast", "prepare", "--config", "site.toml", *runs, "--out", "prepared")
    train = Path(sys.executable).with_name("corticast-train")
    run(train, "linear", "--data", "prepared", "--target", "trial_type", "--out", "model")

    daemon = Daemon(build, folder, f"model.dir={folder / 'model'}")
    sends = [*adapter, "--volumes", args.volumes, "--speed", "0"]
    sends += ["--connect", daemon.endpoints["adapter"]]
    with (folder / "adapter.log").open("wb") as log:
        scanner = subprocess.Popen([str(part) for part in sends], stderr=log)
        lines: list[dict[str, float]] = []
        step, before = args.volumes // 10, (0.0, 0)
        while len(lines) < 10:
            try:
                code = scanner.wait(0.2)
            except subprocess.TimeoutExpired:
                code = None
            took, n = busy_s(daemon)
            if n - before[1] >= step or code is not None:
                line = {
                    "volumes": n,
                    "resident_mb": daemon.bytes_of("VmRSS") / 1e6,
                    "ms_a_volume": 1e3 * (took - before[0]) / max(n - before[1], 1),
                }
                lines.append(line)
                before = (took, n)
                print(json.dumps(line), flush=True)
            if code is not None:
                break
        assert scanner.wait(60) == 0, (folder / "adapter.log").read_text()[-2000:]
    daemon.stop(signal.SIGTERM)
    first, last = lines[1], lines[-1]
    grown = {
        "bytes_a_volume": 1e6
        * (last["resident_mb"] - first["resident_mb"])
        / (last["volumes"] - first["volumes"]),
        "time_ratio": last["ms_a_volume"] / first["ms_a_volume"],
    }
    print(json.dumps(grown))


if __name__ == "__main__":
    main()
