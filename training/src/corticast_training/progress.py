"""Progress on stderr: a bar if stderr is a terminal, else nothing."""

import sys
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Passes `items` through; draws a bar while they are consumed if stderr is a terminal."""
    with Bar(what, total) as bar:
        for item in items:
            yield item
            bar.advance()


class Bar:
    """A bar with a note and the time that is left, gone when it is done."""

    def __init__(self, what: str, total: int, done: int = 0, *, shown: bool = True) -> None:
        self.shown = shown
        self.rich = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            transient=True,
            disable=not (shown and sys.stderr.isatty()),
        )
        self.task = self.rich.add_task(what, total=total, completed=done, note="")

    def __enter__(self) -> Self:
        self.rich.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.rich.stop()

    def advance(self, note: str = "") -> None:
        """One more is done."""
        self.rich.update(self.task, advance=1, note=note)

    def say(self, line: str) -> None:
        """Prints a line above the bar, to stdout."""
        if self.shown:
            print(line, flush=True)
