"""The daemon as a process that is measured, for the programs beside this file."""

import atexit
import json
import re
import signal
import subprocess
import time
from pathlib import Path


class Daemon:
    """A daemon in a folder with `site.toml`, and the seconds it took to get ready.

    Each of `settings` is a value for `--set`.
    """

    def __init__(self, build: Path, folder: Path, *settings: str) -> None:
        endpoints = folder / "endpoints.json"
        endpoints.unlink(missing_ok=True)
        command = [build / "corticast", "run", "--config", folder / "site.toml"]
        command += ["--record", folder / "session.mcap", "--results", folder / "results.jsonl"]
        command += ["--endpoints", endpoints]
        for setting in settings:
            command += ["--set", setting]
        log = (folder / "daemon.log").open("ab")
        started = time.monotonic()
        self.process = subprocess.Popen([str(part) for part in command], stderr=log)
        # The daemon must not outlive a measurement that fails.
        atexit.register(self.process.kill)
        while not endpoints.exists():
            if self.process.poll() is not None:
                raise SystemExit((folder / "daemon.log").read_text()[-3000:])
            time.sleep(0.002)
        self.ready_s = time.monotonic() - started
        self.endpoints = json.loads(endpoints.read_text())

    def bytes_of(self, what: str) -> int:
        """Bytes of a line of the process's memory, such as `VmRSS` or `VmHWM`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+)", status)[1]) * 1024

    def stop(self, how: signal.Signals) -> None:
        """Ends the process with a signal."""
        self.process.send_signal(how)
        self.process.wait(600)
