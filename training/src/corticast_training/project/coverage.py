"""The report of coverage: how many features lie in today's field of view."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corticast_training.errors import TrainingError
from corticast_training.project.features import Features
from corticast_training.project.rows import FULL, Rows

LISTED = 20
"""Features without support that are named."""


def coverage(features: Features, rows: Rows) -> dict[str, Any]:
    """Counts and shares of features with full, partial and no support, in total and by group."""
    partial = (rows.support > 0) & (rows.support < FULL)
    without = np.flatnonzero(rows.support == 0)
    return {
        **_counts(rows.support),
        "lowest_partial_support": float(rows.support[partial].min()) if partial.any() else None,
        "n_entry": len(rows.indices),
        "n_voxel_used": len(np.unique(rows.indices)),
        "without_support": [features.name(int(number)) for number in without[:LISTED]],
        "groups": [
            {"name": name, **_counts(rows.support[start:stop])}
            for name, start, stop in features.groups
        ],
    }


def _counts(support: NDArray[np.float64]) -> dict[str, Any]:
    n = len(support)
    full, none = int((support >= FULL).sum()), int((support == 0).sum())
    return {
        "n_feature": n,
        "full": full,
        "partial": n - full - none,
        "none": none,
        "share_supported": (n - none) / n,
    }


def table(found: dict[str, Any], kind: str) -> str:
    """The counts as a table for people."""
    lines = [("", "features", "full", "partial", "none", "supported")]
    for line in (*found["groups"], {"name": kind, **found}):
        numbers = [str(line[key]) for key in ("n_feature", "full", "partial", "none")]
        name = line["name"].removeprefix("CIFTI_STRUCTURE_").lower()
        lines.append((name, *numbers, f"{100 * line['share_supported']:.2f} %"))
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    return "\n".join(
        "  ".join(
            word.ljust(width) if column == 0 else word.rjust(width)
            for column, (word, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def refuse_uncovered(found: dict[str, Any], min_coverage: float) -> None:
    """Raises `TrainingError` if fewer features than wanted have support."""
    if found["none"] == found["n_feature"]:
        raise TrainingError(
            f"none of {found['n_feature']} features lies in today's field of view: is a transform "
            "missing, or given in the wrong direction (--inverse-affine) or convention?"
        )
    if found["share_supported"] < min_coverage:
        names = ", ".join(found["without_support"])
        more = ", …" if found["none"] > LISTED else ""
        raise TrainingError(
            f"{found['none']} of {found['n_feature']} features lie outside of today's field of "
            f"view ({names}{more}): {100 * found['share_supported']:.2f} % have support, expected "
            f"{100 * min_coverage:g} %; --min-coverage accepts less, and those features are 0"
        )
