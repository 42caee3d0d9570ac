"""Processes the clips, several at once, and sets failed ones aside.

A clip that gets no usable answer is set aside and named at the end; the others continue. If
several clips in a row get no answer, the endpoint itself is down, and waiting for thousands of
time-outs would be useless. The caller keeps the answers that came before.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from corticast_training.errors import TrainingError
from corticast_training.labels.endpoint import BadAnswerError, NoAnswerError
from corticast_training.progress import Bar

T = TypeVar("T")

GIVE_UP_AFTER = 3
"""Clips in a row without any answer."""


def each_clip(
    numbers: Iterable[int],
    n: int,
    ask: Callable[[int], T],
    keep: Callable[[int, T], None],
    *,
    what: str,
    parallel: int,
) -> dict[int, str]:
    """Calls `ask` in threads and `keep` in this one, as results come.

    Returns the clips without a usable answer, and the reasons. Raises `TrainingError` if the
    endpoint is down or refuses the request.
    """
    failed: dict[int, str] = {}
    silent = 0
    left = iter(numbers)
    with Bar(what, n) as bar, ThreadPoolExecutor(parallel) as pool:
        running: dict[Future[T], int] = {}
        while True:
            # No more requests than threads, so that giving up waits for only a few.
            for number in islice(left, parallel - len(running)):
                running[pool.submit(ask, number)] = number
            if not running:
                return failed
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number = running.pop(future)
                try:
                    result = future.result()
                except BadAnswerError as error:
                    failed[number], silent = str(error), 0
                except NoAnswerError as error:
                    failed[number], silent = str(error), silent + 1
                    if silent >= GIVE_UP_AFTER:
                        raise TrainingError(
                            f"{silent} clips in a row got no answer, the last because: {error}. "
                            "What was done is kept, run the command again to go on"
                        ) from error
                else:
                    silent = 0
                    keep(number, result)
                bar.advance(f"{len(failed)} failed" if failed else "")


def named(names: Iterable[str], n: int = 10) -> str:
    """Some names in a message."""
    names = list(names)
    return ", ".join(names[:n]) + (f", … ({len(names)} in all)" if len(names) > n else "")
