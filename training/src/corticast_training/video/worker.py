"""One step of an export in a process of its own, so that its memory is given back.

`python -m corticast_training.video.worker JOB.json`: the job names a task and its arguments; the
result goes to the file the job names. An error for the user goes to stderr, exit code 1.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

from corticast_training.errors import TrainingError


def main(argv: list[str]) -> int:
    """Does one job. Returns the exit code."""
    warnings.simplefilter("ignore")  # the exporter's, about tracing and its own deprecation
    from corticast_training.video import assemble, trace

    job: dict[str, Any] = json.loads(Path(argv[1]).read_text(encoding="utf-8"))
    tasks = {"assemble": assemble.run, "trace": trace.run}
    try:
        result = tasks[job["task"]](job)
    except (TrainingError, OSError) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    except MemoryError:
        print("not enough memory", file=sys.stderr)
        return 1
    Path(job["result"]).write_text(json.dumps(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
