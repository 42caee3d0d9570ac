"""The report's tables: our figures, systems beside each other, published ones."""

from collections.abc import Mapping
from html import escape

from corticast_training.evaluate.figures.catalog import CATALOG, GROUPS
from corticast_training.evaluate.published import SYSTEMS
from corticast_training.evaluate.scoring import Scores
from corticast_training.evaluate.statistics import Figure, NotComputed
from corticast_training.evaluate.summary import KINDS, Systems, control_text

PUBLISHED = ("frame_2way", "frame_50way", "ssim_neurons", "psnr_db")


def figure_of(scores: Scores | NotComputed, key: str) -> Figure | NotComputed:
    """One figure; where a kind of BOLD is missing, why it is."""
    return scores if isinstance(scores, NotComputed) else scores.figures[key]


def all_figures(kinds: Mapping[str, Scores | NotComputed]) -> str:
    """Every figure of one system, single repeats beside their average."""
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
    cells, chance = "", ""
    for figure in figures:
        if isinstance(figure, Figure):
            cells += f"<td>{_value(figure)}</td><td><small>{control_text(figure)}</small></td>"
            if figure.chance is not None:
                chance = f"{figure.chance:.3f}<br><small>{escape(figure.chance_of)}</small>"
        else:
            reason = escape(figure.reason)
            cells += f'<td colspan="2"><small>not computed: {reason}</small></td>'
    return f"<tr><td>{escape(label)}</td>{cells}<td>{chance}</td></tr>"


def _value(figure: Figure) -> str:
    spread = "" if figure.sd is None else f" ± {figure.sd:.3f}"
    low, high = figure.interval
    return f"{figure.value:.3f}{spread}<br><small>[{low:.3f}, {high:.3f}]</small>"


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
    heads = "".join(f"<th>{_short(key)}</th>" for key in PUBLISHED)
    rows = []
    for name, kinds in systems.items():
        for kind, label in KINDS.items():
            figures = [figure_of(kinds[kind], key) for key in PUBLISHED]
            cells = "".join(
                f"<td>{figure.value:.3f}</td>" if isinstance(figure, Figure) else "<td>–</td>"
                for figure in figures
            )
            rows.append(f'<tr class="ours"><td>{escape(name)}, {label}</td>{cells}</tr>')
    for name, values in SYSTEMS.items():
        cells = "".join(
            f"<td>{values[key]:.3f}</td>" if key in values else "<td>–</td>" for key in PUBLISHED
        )
        rows.append(f"<tr><td>{escape(name)} (published)</td>{cells}</tr>")
    return _table(f"<th>system</th>{heads}", rows)


def _short(key: str) -> str:
    entry = CATALOG[key]
    return f"{entry.group}<br>{entry.label}" if "way" in key else entry.label


def _table(head: str, rows: list[str]) -> str:
    body = "\n".join(rows)
    table = f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>"
    return f'<div class="scroll"><table>{table}</table></div>'
