"""The report's tables: our figures, several systems side by side, and published figures."""

from collections.abc import Mapping
from html import escape

from corticast_training.evaluate.figures.catalog import CATALOG, GROUPS
from corticast_training.evaluate.published import KEYS, SYSTEMS
from corticast_training.evaluate.scoring import Scores
from corticast_training.evaluate.statistics import Figure, NotComputed
from corticast_training.evaluate.summary import KINDS, Systems, figure_of, number


def all_figures(kinds: Mapping[str, Scores | NotComputed]) -> str:
    """Every figure of one system, for single repeats and for their average."""
    heads = "".join(f"<th>{label}</th><th>permuted</th>" for label in KINDS.values())
    rows = []
    for group in GROUPS:
        rows.append(f'<tr class="group"><th colspan="6">{group}</th></tr>')
        for key, entry in CATALOG.items():
            if entry.group == group:
                rows.append(_figure_row(entry.label, key, kinds))
    return _table(f"<th>figure</th>{heads}<th>chance</th>", rows)


def _figure_row(label: str, key: str, kinds: Mapping[str, Scores | NotComputed]) -> str:
    figures = [figure_of(kinds[kind], key) for kind in KINDS]
    reasons = {figure.reason for figure in figures if isinstance(figure, NotComputed)}
    if len(reasons) == 1 and not any(isinstance(figure, Figure) for figure in figures):
        told = f'<td colspan="4">{_missing(reasons.pop())}</td><td></td>'
        return f"<tr><td>{escape(label)}</td>{told}</tr>"
    cells, chance = "", ""
    for figure in figures:
        if isinstance(figure, Figure):
            cells += f"<td>{_value(figure)}</td><td>{_control(figure)}</td>"
            if figure.chance is not None:
                chance = f"{number(figure.chance)}<br><small>{escape(figure.chance_of)}</small>"
        else:
            cells += f'<td colspan="2">{_missing(figure.reason)}</td>'
    return f'<tr><td>{escape(label)}</td>{cells}<td class="wrap">{chance}</td></tr>'


def _missing(reason: str) -> str:
    return f"<small>not computed: {escape(reason)}</small>"


def _value(figure: Figure) -> str:
    spread = "" if figure.sd is None else f" <small>± {number(figure.sd)}</small>"
    return f"{number(figure.value)}{spread}<br>{_interval(figure.interval)}"


def _control(figure: Figure) -> str:
    if figure.control is None or figure.control_interval is None:
        return "–"
    chance = "" if figure.p_value is None else f" <small>p = {figure.p_value:.2f}</small>"
    return f"{number(figure.control)}{chance}<br>{_interval(figure.control_interval)}"


def _interval(ends: tuple[float, float]) -> str:
    return f"<small>[{number(ends[0])}, {number(ends[1])}]</small>"


def systems_beside(systems: Systems) -> str:
    """Systems as columns, on the same data."""
    heads = "".join(
        f"<th>{escape(name)}<br><small>{label}</small></th>"
        for name in systems
        for label in KINDS.values()
    )
    rows = []
    for key, entry in CATALOG.items():
        figures = [figure_of(kinds[kind], key) for kinds in systems.values() for kind in KINDS]
        if not any(isinstance(figure, Figure) for figure in figures):
            continue
        cells = "".join(
            f"<td>{_value(figure)}</td>"
            if isinstance(figure, Figure)
            else f'<td title="{escape(figure.reason)}">–</td>'
            for figure in figures
        )
        rows.append(f"<tr><td>{entry.group}: {escape(entry.label)}</td>{cells}</tr>")
    return _table(f"<th>figure</th>{heads}", rows)


def published_beside(systems: Systems) -> str:
    """Ours on top, then what other systems published on cc2017."""
    heads = "".join(f"<th>{head}</th>" for head in KEYS.values())
    rows = []
    for name, kinds in systems.items():
        for kind, label in KINDS.items():
            figures = [figure_of(kinds[kind], key) for key in KEYS]
            cells = "".join(
                f"<td>{figure.value:.3f}</td>"
                if isinstance(figure, Figure)
                else f'<td title="{escape(figure.reason)}"><small>not computed</small></td>'
                for figure in figures
            )
            rows.append(f'<tr class="{kind}"><td>{escape(name)}, {label}</td>{cells}</tr>')
    for name, values in SYSTEMS.items():
        cells = "".join(
            f"<td>{values[key]:.3f}</td>" if key in values else "<td>–</td>" for key in KEYS
        )
        rows.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    return _table(f"<th>system</th>{heads}", rows)


def _table(head: str, rows: list[str]) -> str:
    body = "\n".join(rows)
    table = f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>"
    return f'<div class="scroll"><table>{table}</table></div>'
