"""Writing a movie data set: clips, events, sidecars and facts, as `movie` reads them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from corticast_training.data.layout import Layout, RunName
from corticast_training.data.movie import FORMAT, Clip, Facts

BIDS_VERSION = "1.10.0"
IGNORED = ("clips/", "truth/", "dataset.toml", "prepare.toml", "sub-*/*mask*")


def write_clip_lines(path: Path, clips: Iterable[Clip]) -> None:
    """One JSON object a line."""
    text = "".join(json.dumps(asdict(clip)) + "\n" for clip in clips)
    path.write_text(text, encoding="utf-8")


def write_events(path: Path, clips: Sequence[Clip], clip_s: float) -> None:
    """BIDS events of one run: a row a clip."""
    lines = ["onset\tduration\ttrial_type\tclip"]
    for clip in clips:
        shown = clip.key_object or "n/a"
        lines.append(f"{clip.onset_s:.3f}\t{clip_s:.3f}\t{shown}\t{clip.clip}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_facts(layout: Layout, facts: Facts, more: Mapping[str, Any]) -> None:
    """`dataset.toml`, and what BIDS asks for."""
    bids = {"Name": facts.name, "BIDSVersion": BIDS_VERSION, "DatasetType": "raw"}
    description = layout.folder / "dataset_description.json"
    description.write_text(json.dumps(bids, indent=2) + "\n", encoding="utf-8")
    (layout.folder / ".bidsignore").write_text("\n".join(IGNORED) + "\n", encoding="utf-8")
    people = "\n".join(["participant_id", *(f"sub-{subject}" for subject in facts.subjects)])
    (layout.folder / "participants.tsv").write_text(people + "\n", encoding="utf-8")
    table = {"format": FORMAT, **asdict(facts), "subjects": list(facts.subjects), **more}
    layout.facts.write_text(tomli_w.dumps(table), encoding="utf-8")


def write_sidecar(layout: Layout, run: RunName, repetition_time_s: float) -> None:
    """The sidecar of all runs of a task, at the top, where every subject inherits it."""
    table = {"TaskName": run.task, "RepetitionTime": repetition_time_s}
    path = layout.folder / f"task-{run.task}_bold.json"
    path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
