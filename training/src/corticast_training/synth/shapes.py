"""Smooth shapes on a pixel grid, from signed distances.

A shape is a signed distance in canvas widths, negative inside; `cover` turns it into how much of
each pixel it covers, so that edges are smooth without over-sampling. Distances broadcast:
`x`, `y` are `[F, h, w]` or `[1, h, w]`. Formulas are the usual ones of signed distance functions;
the ellipse's is the first-order approximation, exact enough for edges.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def grid(px: int) -> tuple[Array, Array]:
    """Pixel centres: x to the right and y down, in canvas widths, `[1, px, px]` each."""
    centres = ((np.arange(px) + 0.5) / px).astype(np.float32)
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return x[None], y[None]


def cover(distance: Array, px: int) -> Array:
    """Part of each pixel that is covered, 0 to 1, of a distance in canvas widths."""
    return np.asarray(np.clip(0.5 - distance * px, 0.0, 1.0), np.float32)


def circle(x: Array, y: Array, cx: float, cy: float, radius: float) -> Array:
    """A disc about (`cx`, `cy`)."""
    return np.asarray(np.hypot(x - cx, y - cy) - np.float32(radius), np.float32)


def ellipse(x: Array, y: Array, cx: float, cy: float, rx: float, ry: float) -> Array:
    """An upright ellipse about (`cx`, `cy`)."""
    u, v = (x - cx) / np.float32(rx), (y - cy) / np.float32(ry)
    scaled = np.hypot(u, v)
    slope = np.hypot(u / np.float32(rx), v / np.float32(ry))
    return np.where(
        scaled > 1e-6, scaled * (scaled - 1) / np.maximum(slope, 1e-6), np.float32(-min(rx, ry))
    )


def box(x: Array, y: Array, cx: float, cy: float, rx: float, ry: float, corner: float) -> Array:
    """An upright box of half-widths `rx`, `ry` with round corners."""
    u = np.abs(x - cx) - np.float32(rx - corner)
    v = np.abs(y - cy) - np.float32(ry - corner)
    outside = np.hypot(np.maximum(u, 0), np.maximum(v, 0))
    return np.asarray(outside + np.minimum(np.maximum(u, v), 0) - np.float32(corner), np.float32)


def capsule(
    x: Array,
    y: Array,
    start: tuple[Array | float, Array | float],
    end: tuple[Array | float, Array | float],
    radius: float,
) -> Array:
    """A thick line between two points; the points may be `[F, 1, 1]`."""
    ax, ay = start
    bx, by = np.asarray(end[0] - ax, np.float32), np.asarray(end[1] - ay, np.float32)
    along = np.clip(((x - ax) * bx + (y - ay) * by) / np.maximum(bx**2 + by**2, 1e-9), 0, 1)
    distance = np.hypot(x - ax - along * bx, y - ay - along * by)
    return np.asarray(distance - np.float32(radius), np.float32)


def polygon(x: Array, y: Array, corners: Sequence[tuple[float, float]]) -> Array:
    """A convex polygon, corners clockwise as seen on the screen."""
    sides = []
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        length = float(np.hypot(bx - ax, by - ay))
        sides.append(((by - ay) * (x - ax) - (bx - ax) * (y - ay)) / np.float32(length))
    return np.asarray(np.maximum.reduce(sides), np.float32)


def union(*distances: Array) -> Array:
    """All shapes together."""
    return np.asarray(np.minimum.reduce(np.broadcast_arrays(*distances)), np.float32)


def paint(canvas: Array, colour: Array | Sequence[float], covered: Array) -> None:
    """Paints `colour` (`[3]` or broadcastable) over `canvas` `[F, h, w, 3]` in place."""
    weight = covered[..., None]
    canvas += (np.asarray(colour, np.float32) - canvas) * weight
