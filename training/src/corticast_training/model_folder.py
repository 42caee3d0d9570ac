"""A model folder: `manifest.toml` and the files it names, written as a whole or not at all.

Everything is written beside the target and renamed into place last. A folder that is half a
model would be found by the daemon in front of a participant.
"""

import contextlib
import datetime
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import tomli_w

from corticast_training.errors import TrainingError

FORMAT = 2
MANIFEST = "manifest.toml"


def refuse_existing(folder: Path, force: bool) -> None:
    """Raises `TrainingError` if there is something that may not be replaced.

    Commands call it before they work for minutes; `write_model` calls it again.
    """
    if not folder.exists():
        return
    if not force:
        raise TrainingError(f"{folder}: exists, expected a new folder (--force replaces a model)")
    # --force replaces a model, never a folder that happens to have the name.
    if not (folder / MANIFEST).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise TrainingError(f"{folder}: --force replaces a model, but no {MANIFEST} is in it")


@contextlib.contextmanager
def new_model(folder: Path, *, force: bool) -> Iterator[Path]:
    """A folder aside to fill; it becomes `folder` when the block ends, and goes when it fails.

    For models that do not fit into memory: their files are written where they will stay.
    """
    refuse_existing(folder, force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        # mkdtemp lets only its owner read; the account of the daemon has to read a model.
        written = aside / "new"
        written.mkdir()
        yield written
        if folder.exists():
            folder.rename(aside / "old")
        try:
            written.rename(folder)
        except OSError:
            if (aside / "old").exists():
                (aside / "old").rename(folder)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes `manifest.toml`, last of all, into a folder of `new_model`."""
    (folder / MANIFEST).write_text(tomli_w.dumps(dict(manifest)), encoding="utf-8")


def write_model(
    folder: Path, manifest: Mapping[str, Any], files: Mapping[str, bytes], *, force: bool
) -> None:
    """Writes `manifest.toml` and `files` (name → content) as `folder`."""
    with new_model(folder, force=force) as written:
        for name, content in files.items():
            (written / name).write_bytes(content)
        write_manifest(written, manifest)


def network_entries(graphs: Sequence[Mapping[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """The manifest's networks: graphs that lie in `folder`, each file with its SHA-256.

    A graph has `role`, `file`, `inputs`, `outputs`, `external` (files of weights beside it, which
    other graphs may share) and, where its outputs are of classes, `classes`.
    """
    external = {file for graph in graphs for file in graph["external"]}
    # Once each: graphs share files of gigabytes.
    hashes = {file: sha256_of(folder / file) for file in external}
    return [_network_entry(graph, folder, hashes) for graph in graphs]


def _network_entry(
    graph: Mapping[str, Any], folder: Path, hashes: Mapping[str, str]
) -> dict[str, Any]:
    network = {
        "role": graph["role"],
        "file": graph["file"],
        "sha256": sha256_of(folder / graph["file"]),
        "inputs": graph["inputs"],
        "outputs": graph["outputs"],
    }
    if graph["external"]:
        network["external"] = [{"file": f, "sha256": hashes[f]} for f in graph["external"]]
    if graph.get("classes"):
        network["classes"] = graph["classes"]
    return network


def sha256(content: bytes) -> str:
    """Lower-case hexadecimal SHA-256, as in the manifest."""
    return hashlib.sha256(content).hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def date() -> str:
    """Now in UTC, or `SOURCE_DATE_EPOCH`, so that a build can be repeated to the byte."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        now = datetime.datetime.now(datetime.UTC)
    else:
        try:
            now = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
        except (ValueError, OverflowError) as error:
            raise TrainingError(f"SOURCE_DATE_EPOCH is {epoch!r}, expected seconds") from error
    return now.isoformat(timespec="seconds")


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Versions of the libraries that decide what the numbers are."""
    return {name: metadata.version(name) for name in libraries}
