"""One graph in a process of its own, so that the peak of memory is one network and no more.

The processes are forked from a server that has imported PyTorch once and holds no weights. A
checkpoint is mapped from its file: of ten gigabytes a graph reads the pages it needs.
"""

import multiprocessing
import resource
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from corticast_training.errors import TrainingError
from corticast_training.video.weights import Stored

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one process is to write."""

    role: str
    """Of a graph, or `roles.TABLE` for the weights that two graphs share."""
    checkpoint: Path
    """Folder of stage 2."""
    subject: str
    vae: str | None
    """`tiny`, or a folder in diffusers' layout."""
    folder: Path
    precision: str
    external_above_bytes: int
    metadata: Mapping[str, str]
    table: Mapping[str, Any] | None = None
    """What the job of `roles.TABLE` returned."""


def run(job: Job) -> dict[str, Any]:
    """Does a job in a process of its own. Raises `TrainingError` with what went wrong there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "corticast_training.export.work"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender, job), daemon=True)
    process.start()
    sender.close()
    try:
        kind, found = receiver.recv()
    except EOFError:
        process.join()
        raise TrainingError(
            f"{job.role}: the process ended with {process.exitcode}, expected a result"
            + ("; was it out of memory?" if process.exitcode == -9 else "")
        ) from None
    finally:
        receiver.close()
    process.join()
    if kind == "error":
        raise TrainingError(f"{job.role}: {found}")
    result: dict[str, Any] = found
    return result


def _serve(sender: Connection, job: Job) -> None:
    warnings.simplefilter("ignore")  # the exporter's, about tracing and its own deprecation
    try:
        from corticast_training.export.work import do

        found = do(job)
        sender.send(("done", {**found, "peak_bytes": peak_bytes()}))
    except (TrainingError, OSError) as error:
        sender.send(("error", str(error)))
    except MemoryError:
        sender.send(("error", "not enough memory"))


def peak_bytes() -> int:
    """Most memory that this process held at once, pages of mapped files included."""
    if _STATUS.is_file():
        for line in _STATUS.read_text().splitlines():
            # Not getrusage: that counts what the process forked from held, too.
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def index_from(table: Mapping[str, Any]) -> dict[str, Stored]:
    """The index of shared weights, as `index_facts` made it."""
    return {name: Stored(**entry) for name, entry in table["index"].items()}


def index_facts(index: Mapping[str, Stored]) -> dict[str, Any]:
    """An index for another process."""
    return {name: asdict(stored) for name, stored in index.items()}
