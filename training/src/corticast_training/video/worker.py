"""One step of an export in a process of its own, so that its memory is given back.

The processes are forked from a server that has imported PyTorch once and holds no weights. A job
names a task and its arguments; both it and its result are what JSON can hold.
"""

import multiprocessing
import warnings
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from corticast_training.errors import TrainingError


def run_worker(job: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Does a job in a process of its own. Raises `TrainingError` with what went wrong there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [__name__, "corticast_training.video.assemble", "corticast_training.video.trace"]
    )
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender, dict(job)), daemon=True)
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
    result: dict[str, Any] = found
    return result


def _serve(sender: Connection, job: dict[str, Any]) -> None:
    warnings.simplefilter("ignore")  # the exporter's, about tracing and its own deprecation
    try:
        from corticast_training.video import assemble, trace

        tasks = {"assemble": assemble.run, "trace": trace.run}
        sender.send(("done", tasks[job["task"]](job)))
    except (TrainingError, OSError) as error:
        sender.send(("error", str(error)))
    except MemoryError:
        sender.send(("error", "not enough memory"))
