"""A data set's folder appears as a whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corticast_training.data.layout import Layout
from corticast_training.errors import TrainingError


@contextmanager
def new_dataset(out: Path, *, force: bool) -> Iterator[Layout]:
    """Gives an empty folder beside `out`; it takes the name `out` when all went well.

    Raises `TrainingError` if there is something already; `force` replaces a data set.
    """
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        if not force:
            raise TrainingError(f"{out}: exists, expected a new folder (--force replaces it)")
        if not Layout(out).facts.is_file():
            raise TrainingError(f"{out}: --force replaces a data set, but it has no dataset.toml")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        made = aside / "new"
        made.mkdir()
        yield Layout(made)
        if out.exists():
            out.rename(aside / "old")
        made.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
