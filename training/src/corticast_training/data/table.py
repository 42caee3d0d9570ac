"""Tables of events, read as the daemon reads them (`adapters/images/src/events.rs`).

Excel and MATLAB write a byte order mark, Excel's "Unicode text" is UTF-16, old Macs end lines with
CR, and R puts names into quotes. `n/a`, `NaN` and an empty cell mean that there is no value.
"""

import codecs
import math
from dataclasses import dataclass
from pathlib import Path

from corticast_training.errors import TrainingError

MISSING = ("", "n/a", "na", "nan")


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    line: int
    """Line of the file, counted from 1."""
    cells: dict[str, str]
    """Text of each column; empty where the line is too short."""

    def seconds(self, path: Path, column: str) -> float | None:
        """The time in a column; None without a value.

        Raises `TrainingError` for a cell that is no finite number.
        """
        text = self.cells[column]
        if is_missing(text):
            return None
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not math.isfinite(seconds):
            raise TrainingError(
                f"{path}:{self.line}: {column} is {text!r}, expected seconds, or n/a"
            )
        return seconds


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.lower() in MISSING


def read_table(path: Path, needed: tuple[str, ...]) -> list[Row]:
    """Reads a table with tabs between its columns.

    Raises `TrainingError` if it is missing, is not text, or lacks a `needed` column.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror or error}") from error
    lines = _text(path, data).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    columns = _cells(lines[0])
    for column in needed:
        if column not in columns:
            hint = ""
            if len(columns) == 1 and any(mark in lines[0] for mark in ",;"):
                hint = "; its columns are separated by commas or semicolons, expected tabs"
            raise TrainingError(f"{path}: no column {column!r}, found {columns}{hint}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if line.strip():
            cells = _cells(line)
            cells += [""] * (len(columns) - len(cells))
            rows.append(Row(number, dict(zip(columns, cells, strict=False))))
    return rows


def _text(path: Path, data: bytes) -> str:
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrainingError(
            f"{path}: byte {error.start} is not UTF-8: save the file as UTF-8"
        ) from error


def _cells(line: str) -> list[str]:
    return [_unquoted(cell.strip()) for cell in line.split("\t")]


def _unquoted(cell: str) -> str:
    quoted = len(cell) >= 2 and cell[0] == cell[-1] == '"'
    return cell[1:-1] if quoted else cell
