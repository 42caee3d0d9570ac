"""A folder of video networks: `video.toml` and what it names, whole or not at all.

Files of gigabytes are written into a folder aside, which takes the place of the old one last.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w

from corticast_training.errors import TrainingError

MANIFEST = "video.toml"
FORMAT = 1


def refuse_existing(folder: Path, force: bool) -> None:
    """Raises `TrainingError` if there is something that may not be replaced."""
    if not folder.exists():
        return
    if not force:
        raise TrainingError(f"{folder}: exists, expected a new folder (--force replaces a set)")
    if not (folder / MANIFEST).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise TrainingError(f"{folder}: --force replaces a set, but no {MANIFEST} is in it")


@contextmanager
def staged(folder: Path, force: bool) -> Iterator[tuple[Path, Path]]:
    """Gives a new folder to write into and one for work; renames the first when all went well."""
    refuse_existing(folder, force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        written, work = aside / "new", aside / "work"
        written.mkdir()
        work.mkdir()
        yield written, work
        if folder.exists():
            folder.rename(aside / "old")
        written.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes `video.toml`."""
    (folder / MANIFEST).write_text(tomli_w.dumps(dict(manifest)), encoding="utf-8")
