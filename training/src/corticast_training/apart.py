"""One job in a process of its own, so that its memory is given back when it ends.

The processes are forked from a server that has imported the libraries once and holds no weights.
A job and its result are pickled, so they name files and hold no tensors.
"""

import multiprocessing
import resource
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from corticast_training.errors import TrainingError

J = TypeVar("J")
R = TypeVar("R")
_STATUS = Path("/proc/self/status")


def run_apart(task: Callable[[J], R], job: J, what: str, *, preload: str) -> R:
    """What `task`, a function of a module, returns for a job. `what` is the job's name in errors.

    `preload` is the module that the server imports, so that no process has to; a server that runs
    already keeps what it has. Raises `TrainingError` with what went wrong in the process, and its
    `ModuleNotFoundError` where a package is missing.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, preload])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender, task, job), daemon=True)
    process.start()
    sender.close()
    try:
        kind, found = receiver.recv()
    except EOFError:
        process.join()
        raise TrainingError(
            f"{what}: the process ended with {process.exitcode}, expected a result"
            + ("; was it out of memory?" if process.exitcode == -9 else "")
        ) from None
    finally:
        receiver.close()
    process.join()
    if kind == "error":
        raise TrainingError(f"{what}: {found}")
    if kind == "import":
        message, name = found
        raise ModuleNotFoundError(message, name=name)
    result: R = found
    return result


def peak_bytes() -> int:
    """Most memory that this process held at once, pages of mapped files included."""
    if _STATUS.is_file():
        for line in _STATUS.read_text().splitlines():
            # Not getrusage: that counts what the process forked from held, too.
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _serve(sender: Connection, task: Callable[[J], R], job: J) -> None:
    warnings.simplefilter("ignore")  # the exporter's, about tracing and its own deprecation
    try:
        sender.send(("done", task(job)))
    except (TrainingError, OSError) as error:
        sender.send(("error", str(error)))
    except ModuleNotFoundError as error:
        sender.send(("import", (str(error), error.name)))
    except MemoryError:
        sender.send(("error", "not enough memory"))
