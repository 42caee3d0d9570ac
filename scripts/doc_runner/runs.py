"""Runs marked blocks: each run in a folder and, if the system allows it, a network of its own."""

import concurrent.futures
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from doc_runner.blocks import Block, blocks_of
from doc_runner.shell import script_of

PORTS = (5560, 5561, 5562, 5563, 5564, 9464)
"""Ports that the docs use."""
LIMIT_S = 1800
"""Seconds after which a run is ended."""
PARALLEL = 3
"""Runs at a time, if each has a network of its own."""

_SESSIONS: set[int] = set()
"""Session ids of the runs in progress."""


def checkout(root: Path, folder: Path) -> Path:
    """A folder of links to the checkout: files that a run writes stay out of the checkout."""
    made = folder / "corticast"
    made.mkdir()
    for path in root.iterdir():
        if path.name not in (".git", "demo-out"):
            (made / path.name).symlink_to(path)
    return made


def run_all(root: Path, chosen: Sequence[str], path: str, verbose: bool) -> list[str]:
    """Runs the marked blocks with the programs of `path`, and returns the failures."""
    isolated = subprocess.run(
        ["unshare", "--map-root-user", "--net", "true"], capture_output=True, check=False
    )
    alone = isolated.returncode == 0
    if not alone and (taken := [port for port in PORTS if _taken(port)]):
        return [f"port {taken[0]} of the docs is taken: end the program that listens there"]
    runs: dict[tuple[str, str], list[Block]] = {}
    for document in chosen:
        for block in blocks_of(document, (root / document).read_text(encoding="utf-8")):
            if block.run is not None:
                runs.setdefault((document, block.run), []).append(block)
    faults: list[str] = []
    with concurrent.futures.ThreadPoolExecutor(PARALLEL if alone else 1) as pool:
        # The longest runs start first.
        order = sorted(runs, key=lambda key: -len(runs[key]))
        jobs = {pool.submit(_run, root, key[0], runs[key], path, alone): key for key in order}
        for job in concurrent.futures.as_completed(jobs):
            document, name = jobs[job]
            code, said, took_s = job.result()
            print(
                f"{document}: {name}: {'ok' if code == 0 else 'FAILED'}, {took_s:.0f} s", flush=True
            )
            if code != 0 or verbose:
                print(said, flush=True)
            if code != 0:
                faults.append(f"{document}: the run `{name}` failed, see above")
    return faults


def _run(
    root: Path, document: str, blocks: Sequence[Block], path: str, alone: bool
) -> tuple[int, str, float]:
    """Exit code, output and seconds of one run."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="doc-commands-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        (home / "work").mkdir()
        # A reader does not have the variables of the tests.
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("CORTICAST", "MAKE"))
        }
        environment |= {
            "HOME": str(home),
            "PATH": path,
            "CHECKOUT": str(checkout(root, home)),
            "OMP_NUM_THREADS": "1",
        }
        command = ["bash", "-c", script_of(document, blocks)]
        if alone:
            up = [sys.executable, str(Path(__file__).with_name("loopback.py"))]
            script = f'{shlex.join(up)}; exec "$@"'
            isolate = ["unshare", "--map-root-user", "--net", "bash", "-c", script, "bash"]
            command = [*isolate, *command]
        with (home / "output").open("w+b") as output:
            job = subprocess.Popen(
                command,
                cwd=home / "work",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            _SESSIONS.add(job.pid)
            try:
                code = job.wait(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                code = 124
                output.write(f"\nnot done after {LIMIT_S} s\n".encode())
            finally:
                end_session(job.pid)
                _SESSIONS.discard(job.pid)
            job.wait()
            output.seek(0)
            said = output.read().decode(errors="replace")
    return code, said, time.monotonic() - began


def end_all(number: int, _: object) -> None:
    """Ends every run on Ctrl-C and SIGTERM, which reach only this process."""
    for session in set(_SESSIONS):
        end_session(session)
    os._exit(128 + number)


def end_session(session: int) -> None:
    """Kills every process of a run."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The fields after the name in brackets: state, parent, group, session.
            if int(status.read_text().rpartition(")")[2].split()[3]) == session:
                os.kill(int(status.parent.name), signal.SIGKILL)
        except (OSError, ValueError):
            continue  # the process has ended


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
