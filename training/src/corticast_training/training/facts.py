"""`training.toml`: what a model was trained on, and what it reached.

The export reads from it everything that the daemon will check: each subject's mask, signal
path and normalisation, with the frozen statistics beside the file where there are any.
"""

import shutil
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from corticast_training import __version__
from corticast_training.errors import TrainingError
from corticast_training.model_folder import date, sha256, versions
from corticast_training.training.reached import Reached
from corticast_training.training.study import Study, SubjectBold

FORMAT = 1
NAME = "training.toml"
MASK_KEYS = ("hash", "n_voxel", "matrix", "affine")
LIBRARIES = ("torch", "lightning-fabric", "numpy", "safetensors")


def study_facts(study: Study, held_out: list[str]) -> dict[str, Any]:
    """What is known before training: data, targets, subjects, clips to judge by."""
    return {
        "format": FORMAT,
        "tool": "corticast-train",
        "version": __version__,
        "window_volumes": study.window_volumes,
        "held_out": held_out,
        "data": study.data,
        "targets": {
            "sha256": study.targets.sha256,
            "pretrained": study.targets.facts.get("pretrained", {}),
        },
        "subject": [_subject(own) for own in study.subjects],
        "libraries": versions(LIBRARIES),
    }


def _subject(own: SubjectBold) -> dict[str, Any]:
    prepared = own.prepared
    normalise = dict(prepared.normalise)
    if prepared.statistics is not None:
        normalise |= {
            "statistics": statistics_name(own),
            "statistics_sha256": sha256(prepared.statistics.read_bytes()),
        }
    return {
        "subject": own.subject,
        "n_repeat": int(own.windows.shape[0]),
        "n_clip": int(own.windows.shape[1]),
        "mask": {key: prepared.mask[key] for key in MASK_KEYS},
        "signal": prepared.signal,
        "normalise": normalise,
        **({"stages": prepared.stages} if prepared.stages else {}),
        "prepared_sha256": prepared.sha256,
    }


def statistics_name(own: SubjectBold) -> str:
    """File of a subject's frozen statistics beside `training.toml`."""
    assert own.prepared.statistics is not None
    return f"sub-{own.subject}_normalise{own.prepared.statistics.suffix}"


def copy_statistics(study: Study, out: Path) -> None:
    """Puts the frozen statistics of every subject beside the model."""
    for own in study.subjects:
        if own.prepared.statistics is not None:
            shutil.copyfile(own.prepared.statistics, out / statistics_name(own))


def write_facts(out: Path, stage: str, facts: dict[str, Any], reached: Reached) -> None:
    """Writes `training.toml` aside and renames it."""
    whole = {
        "stage": stage,
        "date": date(),
        **facts,
        "reached": {
            "step": reached.step,
            "epoch": reached.best_epoch + 1,
            "metrics": reached.best_metrics,
        },
    }
    aside = out / f".{NAME}.new"
    aside.write_text(tomli_w.dumps(whole), encoding="utf-8")
    aside.replace(out / NAME)


def read_facts(folder: Path, stage: str) -> dict[str, Any]:
    """Reads `training.toml` of a stage."""
    path = folder / NAME
    if not path.is_file():
        raise TrainingError(
            f"{folder}: no {NAME} in it, expected what `corticast-train {stage}` wrote; "
            "a training that was cut has one after its first epoch"
        )
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: not TOML: {error}") from error
    if facts.get("format") != FORMAT or facts.get("stage") != stage:
        raise TrainingError(
            f"{path}: format {facts.get('format')!r} of stage {facts.get('stage')!r}, "
            f"expected format {FORMAT} of stage {stage!r}"
        )
    return facts
