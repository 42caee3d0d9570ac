"""A progress bar on stderr, only when somebody is there to see it."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

WIDTH = 30


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Passes `items` through; draws a bar while they are consumed if stderr is a terminal."""
    shown = sys.stderr.isatty()
    for done, item in enumerate(items):
        if shown:
            bar = "█" * (WIDTH * done // max(total, 1))
            print(f"\r{what} {bar:<{WIDTH}} {done}/{total}", end="", file=sys.stderr, flush=True)
        yield item
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
