"""An evaluation, and its JSON with stable keys."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corticast_training import __version__
from corticast_training.evaluate.published import CONCEPTS, SYSTEMS
from corticast_training.evaluate.scoring import Scores
from corticast_training.evaluate.statistics import Figure, NotComputed
from corticast_training.evaluate.truth import Truth
from corticast_training.labels.classes import CLASSES

FORMAT = 1
KINDS = {"single": "single repeats", "mean": "average of repeats"}

Systems = Mapping[str, Mapping[str, Scores | NotComputed]]
"""Name of a system → `single` and `mean`."""


@dataclass(frozen=True)
class Evaluation:
    """Everything that a report shows."""

    truth: Truth
    systems: Systems
    notes: list[str]
    """What a reader must know beside the figures."""
    differences: dict[str, str]
    """What a baseline differs in from the published system it is named after."""
    seed: int


def figure_of(scores: Scores | NotComputed, key: str) -> Figure | NotComputed:
    """One figure; if a kind of BOLD is missing, the reason."""
    return scores if isinstance(scores, NotComputed) else scores.figures[key]


def as_json(evaluation: Evaluation) -> str:
    """All figures; what is not computed has `value` null and a `reason`."""
    truth = evaluation.truth
    content = {
        "format": FORMAT,
        "tool": f"corticast-train {__version__}",
        "data_set": truth.data_set,
        "split": truth.split,
        "n_clip": len(truth.clip_ids),
        "seed": evaluation.seed,
        "notes": evaluation.notes,
        "differences": evaluation.differences,
        "systems": {
            name: {kind: _scores(scores) for kind, scores in kinds.items()}
            for name, kinds in evaluation.systems.items()
        },
        "published": {
            "source": "supplement of NEURONS, tables a and b; cc2017, ten repeats averaged",
            "systems": SYSTEMS,
            "concepts": {CLASSES[index]: share for index, share in CONCEPTS.items()},
        },
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _scores(scores: Scores | NotComputed) -> dict[str, Any]:
    if isinstance(scores, NotComputed):
        return {"reason": scores.reason, "repeats": [], "figures": {}, "per_class": None}
    return {
        "repeats": scores.repeats,
        "figures": {key: _figure(figure) for key, figure in scores.figures.items()},
        "per_class": scores.per_class,
    }


def _figure(figure: Figure | NotComputed) -> dict[str, Any]:
    if isinstance(figure, NotComputed):
        return {"value": None, "reason": figure.reason}
    return {
        "value": _finite(figure.value),
        "sd_over_repeats": _finite(figure.sd),
        "interval": _pair(figure.interval),
        "control": _finite(figure.control),
        "control_interval": _pair(figure.control_interval),
        "above_control_interval": _pair(figure.above_control),
        "p_value": _finite(figure.p_value),
        "chance": _finite(figure.chance),
        "chance_of": figure.chance_of,
        "n_clip": figure.n_clip,
        "n_repeat": figure.n_repeat,
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _pair(values: tuple[float, float] | None) -> list[float | None] | None:
    return None if values is None else [_finite(value) for value in values]


def number(value: float) -> str:
    """Three places, two above 10: five characters."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"


def with_interval(value: float, interval: tuple[float, float]) -> str:
    """A figure and its 95 % interval."""
    return f"{number(value)} [{number(interval[0])}, {number(interval[1])}]"


def control_text(figure: Figure) -> str:
    """The permuted control and its interval; a dash where a figure has none."""
    if figure.control is None or figure.control_interval is None:
        return "–"
    return with_interval(figure.control, figure.control_interval)


def write_aside(path: Path, content: str) -> None:
    """Writes a file that gets its name only once it is complete."""
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_text(content, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
