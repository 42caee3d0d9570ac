"""A job in a process of its own: its result comes back, or one line that says what was wrong."""

import os
import re

import pytest

from corticast_training.apart import peak_bytes, run_apart
from corticast_training.errors import TrainingError

# The server outlives these tests: it imports what those of exports, which follow, need at most.
PRELOAD = "corticast_training.video.export_set"


def half(job: int) -> float:
    return job / 2


def fail(job: str) -> None:
    if job == "memory":
        raise MemoryError
    raise TrainingError(job) if job == "refused" else FileNotFoundError(2, "No such file", job)


def test_a_job_is_done_in_another_process() -> None:
    assert run_apart(half, 3, "half", preload=PRELOAD) == 1.5
    assert run_apart(own_process, None, "own", preload=PRELOAD) != os.getpid()


def own_process(_: None) -> int:
    return os.getpid()


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("refused", "prior: refused"),
        ("memory", "prior: not enough memory"),
        ("a.file", "prior: [Errno 2] No such file: 'a.file'"),
    ],
)
def test_an_error_says_whose_it_is(job: str, said: str) -> None:
    with pytest.raises(TrainingError, match=f"^{re.escape(said)}$"):
        run_apart(fail, job, "prior", preload=PRELOAD)


def test_a_process_that_dies_is_an_error_with_its_exit_code() -> None:
    with pytest.raises(TrainingError, match=r"process ended with 3, expected a result$"):
        run_apart(os._exit, 3, "prior", preload=PRELOAD)


def test_a_process_that_was_killed_is_said_to_be_out_of_memory() -> None:
    with pytest.raises(TrainingError, match=r"ended with -9, .*; was it out of memory\?$"):
        run_apart(kill, 9, "prior", preload=PRELOAD)


def kill(signal: int) -> None:
    os.kill(os.getpid(), signal)


def test_the_peak_of_memory_is_that_of_one_process() -> None:
    large = run_apart(peak_with, 2**27, "large", preload=PRELOAD)
    small = run_apart(peak_with, 0, "small", preload=PRELOAD)
    assert large - small > 2**26


def peak_with(n_byte: int) -> int:
    held = b"1" * n_byte
    assert len(held) == n_byte
    return peak_bytes()
