"""Fields of a table from a file, checked as they are taken."""

import math
from collections.abc import Mapping
from typing import Any

from corticast_training.errors import TrainingError


class Fields:
    """A table and where it stands; every getter raises `TrainingError` on the wrong thing."""

    def __init__(self, table: Any, where: str) -> None:
        if not isinstance(table, Mapping):
            raise TrainingError(f"{where}: expected a table")
        self._table, self._where = table, where

    def _wrong(self, key: str, expected: str) -> TrainingError:
        if key not in self._table:
            return TrainingError(f"{self._where}: `{key}` is missing, expected {expected}")
        return TrainingError(f"{self._where}: {key} is {self._table[key]!r}, expected {expected}")

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self._table.get(key)
        if not isinstance(value, str) or not value:
            raise self._wrong(key, "a text")
        return value

    def optional_text(self, key: str) -> str | None:
        """A text or null."""
        return None if self._table.get(key) is None else self.text(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, maybe empty."""
        value = self._table.get(key)
        if not isinstance(value, list) or any(not isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of texts")
        return tuple(value)

    def integer(self, key: str) -> int:
        """An integer."""
        value = self._table.get(key)
        if type(value) is not int:
            raise self._wrong(key, "an integer")
        return value

    def count(self, key: str) -> int:
        """An integer above 0."""
        value = self.integer(key)
        if value < 1:
            raise self._wrong(key, "1 or more")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._table.get(key)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise self._wrong(key, "a number")
        return float(value)

    def positive(self, key: str) -> float:
        """A number above 0."""
        value = self.number(key)
        if value <= 0:
            raise self._wrong(key, "a number above 0")
        return value

    def table(self, key: str) -> Any:
        """A table within."""
        value = self._table.get(key)
        if not isinstance(value, Mapping):
            raise self._wrong(key, "a table")
        return value
