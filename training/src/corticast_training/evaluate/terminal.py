"""The figures on the terminal, in 80 columns: single repeats above the average of repeats.

Slurm's logs and pipes report no width, and a wider table would be broken into pieces there.
"""

from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table

from corticast_training.evaluate.figures.catalog import CATALOG, GROUPS
from corticast_training.evaluate.published import KEYS, SYSTEMS
from corticast_training.evaluate.scoring import Scores
from corticast_training.evaluate.statistics import Figure, NotComputed
from corticast_training.evaluate.summary import (
    Evaluation,
    Systems,
    control_text,
    figure_of,
    number,
    with_interval,
)

SHORT = {"single": "single", "mean": "average"}


def print_tables(evaluation: Evaluation, console: Console | None = None) -> None:
    """Every figure with its interval and its control, then published figures beside ours."""
    console = console or Console()
    truth = evaluation.truth
    for name, kinds in evaluation.systems.items():
        title = f"{name}: {truth.data_set}, {len(truth.clip_ids)} {truth.split} clips"
        console.print(f"\n[bold]{title}[/bold]", highlight=False)
        console.print(_figures(kinds))
        for kind, scores in kinds.items():
            if isinstance(scores, NotComputed):
                console.print(f"{SHORT[kind]}: not computed: {scores.reason}", highlight=False)
        for reason, labels in _reasons(kinds).items():
            console.print(f"not computed: {reason}: {', '.join(labels)}", highlight=False)
    console.print("\n[bold]Beside published figures of cc2017, ten repeats averaged[/bold]")
    console.print(_published(evaluation.systems))
    for note in evaluation.notes:
        console.print(f"note: {note}", highlight=False)


def _figures(kinds: Mapping[str, Scores | NotComputed]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("figure", min_width=18)
    table.add_column("BOLD")
    table.add_column("value [95 %]", no_wrap=True)
    table.add_column("permuted [95 %]", style="dim", no_wrap=True)
    table.add_column("chance", style="dim", no_wrap=True)
    for group in GROUPS:
        keys = [key for key, entry in CATALOG.items() if entry.group == group]
        shown = [key for key in keys if _known(kinds, key)]
        if shown:
            table.add_row(f"[bold]{group}[/bold]")
        for key in shown:
            table.add_row(CATALOG[key].label, *_cells(kinds, key))
    return table


def _known(kinds: Mapping[str, Scores | NotComputed], key: str) -> dict[str, Figure]:
    found = {kind: figure_of(scores, key) for kind, scores in kinds.items()}
    return {kind: figure for kind, figure in found.items() if isinstance(figure, Figure)}


def _cells(kinds: Mapping[str, Scores | NotComputed], key: str) -> list[str]:
    """BOLD, value, control and chance; one line for each available kind of BOLD."""
    figures = _known(kinds, key)
    control = [control_text(figure) for figure in figures.values()]
    chance = [number(one.chance) if one.chance is not None else "" for one in figures.values()]
    values = [with_interval(figure.value, figure.interval) for figure in figures.values()]
    columns = ([SHORT[kind] for kind in figures], values, control, chance)
    return ["\n".join(column) for column in columns]


def _reasons(kinds: Mapping[str, Scores | NotComputed]) -> dict[str, list[str]]:
    """Figures that no kind of BOLD has, by reason. A group without any figure is given by name."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for key, entry in CATALOG.items():
        found = [scores.figures[key] for scores in kinds.values() if isinstance(scores, Scores)]
        why = [one.reason for one in found if isinstance(one, NotComputed)]
        if why and len(why) == len(found):
            reasons.setdefault(why[0], {}).setdefault(entry.group, []).append(entry.label)
    size = {group: sum(entry.group == group for entry in CATALOG.values()) for group in GROUPS}
    return {
        reason: [
            label
            for group, labels in groups.items()
            for label in ([group.lower()] if len(labels) == size[group] else labels)
        ]
        for reason, groups in reasons.items()
    }


def _published(systems: Systems) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("system", min_width=24)
    for head in KEYS.values():
        table.add_column(head, justify="right", no_wrap=True)
    for name, kinds in systems.items():
        for kind, scores in kinds.items():
            figures = [figure_of(scores, key) for key in KEYS]
            cells = [f"{one.value:.3f}" if isinstance(one, Figure) else "–" for one in figures]
            table.add_row(f"{name}, {SHORT[kind]}", *cells, style="bold")
    for name, values in SYSTEMS.items():
        table.add_row(name, *(f"{values[key]:.3f}" if key in values else "–" for key in KEYS))
    return table
