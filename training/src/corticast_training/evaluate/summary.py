"""An evaluation as JSON, with keys that stay, and as a table for the terminal."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from corticast_training import __version__
from corticast_training.evaluate.figures.catalog import CATALOG, GROUPS
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


def print_table(evaluation: Evaluation, console: Console | None = None) -> None:
    """The figures on the terminal: value, its interval, and the control's."""
    console = console or Console()
    truth = evaluation.truth
    for name, kinds in evaluation.systems.items():
        table = Table(title=f"{name}: {truth.data_set}, {truth.split} clips", title_justify="left")
        table.add_column("figure")
        for label in KINDS.values():
            table.add_column(f"{label} [95 %]", justify="right")
            table.add_column("permuted [95 %]", justify="right", style="dim")
        table.add_column("chance", justify="right", style="dim")
        for group in GROUPS:
            _add_group(table, group, kinds)
        console.print(table)
        for kind, scores in kinds.items():
            if isinstance(scores, NotComputed):
                console.print(f"{KINDS[kind]}: not computed: {scores.reason}")
        for reason, labels in _reasons(kinds).items():
            console.print(f"not computed: {', '.join(labels)}: {reason}", highlight=False)
    for note in evaluation.notes:
        console.print(f"note: {note}", highlight=False)


def _add_group(table: Table, group: str, kinds: Mapping[str, Scores | NotComputed]) -> None:
    keys = [key for key, entry in CATALOG.items() if entry.group == group]
    shown = [key for key in keys if any(isinstance(_of(kinds[k], key), Figure) for k in KINDS)]
    if shown:
        table.add_row(f"[bold]{group}[/bold]")
    for key in shown:
        cells, chance = [f"  {CATALOG[key].label}"], ""
        for kind in KINDS:
            figure = _of(kinds[kind], key)
            if isinstance(figure, Figure):
                cells += [value_text(figure), control_text(figure)]
                chance = "" if figure.chance is None else f"{figure.chance:.3f}"
            else:
                cells += ["–", "–"]
        table.add_row(*cells, chance)


def value_text(figure: Figure) -> str:
    """Value, s.d. over repeats where there are several, and interval."""
    spread = "" if figure.sd is None else f" ± {figure.sd:.3f}"
    return f"{figure.value:.3f}{spread} [{figure.interval[0]:.3f}, {figure.interval[1]:.3f}]"


def control_text(figure: Figure) -> str:
    """The permuted control and its interval."""
    if figure.control is None or figure.control_interval is None:
        return "–"
    low, high = figure.control_interval
    return f"{figure.control:.3f} [{low:.3f}, {high:.3f}]"


def _of(scores: Scores | NotComputed, key: str) -> Figure | NotComputed | None:
    return None if isinstance(scores, NotComputed) else scores.figures[key]


def _reasons(kinds: Mapping[str, Scores | NotComputed]) -> dict[str, list[str]]:
    """Labels of the figures that no kind of BOLD has, by reason."""
    reasons: dict[str, list[str]] = {}
    for key, entry in CATALOG.items():
        found = [_of(scores, key) for scores in kinds.values()]
        why = [one.reason for one in found if isinstance(one, NotComputed)]
        if why and not any(isinstance(one, Figure) for one in found):
            reasons.setdefault(why[0], []).append(f"{entry.group.lower()} {entry.label}")
    return reasons


def write_aside(path: Path, content: str) -> None:
    """Writes a file under its name only once it is whole."""
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_text(content, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
