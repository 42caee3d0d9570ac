"""The backgrounds behind the key object: their looks, their names, and the level of the ground.

Each painter fills a canvas `[F, h, w, 3]` (0 to 1). It draws its variations (hills, clouds, hues)
from `rng`, so that two clips of one scene are similar but not equal. `time` `[F, 1, 1]` runs from 0
to 1 over the clip: clouds, waves and snow move with it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from corticast_training.synth.shapes import (
    Array,
    box,
    capsule,
    circle,
    cover,
    ellipse,
    paint,
    polygon,
    union,
)

Painter = Callable[[Array, Array, Array, Array, np.random.Generator], None]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """One kind of background."""

    name: str
    place: str
    """As a caption says it, after the verb."""
    empty: str
    """Caption of a clip without a key object."""
    classes: tuple[str, ...]
    tags: tuple[str, ...]
    horizon: float
    """Where the ground starts, canvas widths from the top."""
    draw: Painter


def _mix(a: Colour, b: Colour, weight: Array) -> Array:
    start, end = np.asarray(a, np.float32), np.asarray(b, np.float32)
    return start + (end - start) * np.clip(weight, 0, 1)[..., None]


def _fill(canvas: Array, top: Colour, bottom: Colour, weight: Array) -> None:
    canvas[:] = _mix(top, bottom, weight)


def _below(canvas: Array, y: Array, line: Array | float, top: Colour, bottom: Colour) -> None:
    """Fills the area below `line` with a gradient down to the lower edge."""
    px = canvas.shape[1]
    shade = np.asarray((y - line) / np.maximum(1 - line, 1e-3), np.float32)
    paint(canvas, _mix(top, bottom, shade), cover(line - y, px))


def _ridge(x: Array, rng: np.random.Generator, level: float, height: float) -> Array:
    """A line of hills about `level`."""
    line = np.full_like(x, level)
    for waves in (1.0, 2.0, 3.5):
        phase, size = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1) * height / waves
        line = line - np.float32(size) * np.sin(x * np.float32(2 * np.pi * waves) + phase)
    return line


def _clouds(
    canvas: Array, x: Array, y: Array, time: Array, rng: np.random.Generator, colour: Colour
) -> None:
    for _ in range(rng.integers(1, 4)):
        cx, cy = rng.uniform(-0.1, 1.1), rng.uniform(0.06, 0.24)
        speed, size = rng.uniform(0.04, 0.16), rng.uniform(0.05, 0.1)
        u = x - np.float32(cx) - np.float32(speed) * time
        puff = union(
            ellipse(u, y, 0, cy, size * 1.5, size * 0.45),
            ellipse(u, y, -size * 0.4, cy - size * 0.3, size * 0.6, size * 0.5),
            ellipse(u, y, size * 0.45, cy - size * 0.22, size * 0.55, size * 0.42),
        )
        paint(canvas, colour, cover(puff, canvas.shape[1]) * np.float32(0.9))


def _field(canvas: Array, x: Array, y: Array, time: Array, rng: np.random.Generator) -> None:
    px = canvas.shape[1]
    _fill(canvas, (0.35, 0.62, 0.93), (0.80, 0.91, 0.99), y / 0.55)
    sun = circle(x, y, rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.2), 0.07)
    paint(canvas, (1.0, 0.93, 0.55), cover(sun, px))
    _clouds(canvas, x, y, time, rng, (1.0, 1.0, 1.0))
    _below(canvas, y, _ridge(x, rng, 0.5, 0.05), (0.42, 0.68, 0.40), (0.35, 0.60, 0.34))
    _below(canvas, y, _ridge(x, rng, 0.56, 0.015), (0.46, 0.75, 0.30), (0.22, 0.52, 0.18))
    for _ in range(14):
        fx, fy = rng.uniform(0, 1), rng.uniform(0.62, 0.98)
        petal = ((1.0, 0.95, 0.4), (1.0, 1.0, 1.0), (0.95, 0.6, 0.75))[rng.integers(3)]
        paint(canvas, petal, cover(circle(x, y, fx, fy, 0.006 + 0.008 * fy), px))


def _sea(canvas: Array, x: Array, y: Array, time: Array, rng: np.random.Generator) -> None:
    px = canvas.shape[1]
    _fill(canvas, (0.45, 0.70, 0.95), (0.90, 0.95, 0.99), y / 0.5)
    _clouds(canvas, x, y, time, rng, (1.0, 1.0, 1.0))
    _below(canvas, y, np.full_like(x, 0.5), (0.30, 0.62, 0.85), (0.05, 0.25, 0.55))
    phase = rng.uniform(0, 6.3)
    for row in range(7):
        level = 0.53 + 0.068 * row
        shift = time * np.float32(1.2 + 0.5 * row) + phase + 1.7 * row
        wave = level + (0.006 + 0.002 * row) * np.sin(x * np.float32(24 - 2 * row) + shift)
        crest = np.abs(y - wave) - np.float32(0.004 + 0.0008 * row)
        seen = 0.35 + 0.35 * np.sin(x * np.float32(9 + row) + phase * row - shift)
        paint(canvas, (0.80, 0.93, 0.98), cover(crest, px) * np.clip(seen, 0, 1))


def _reef(canvas: Array, x: Array, y: Array, time: Array, rng: np.random.Generator) -> None:
    px = canvas.shape[1]
    _fill(canvas, (0.25, 0.72, 0.86), (0.02, 0.25, 0.50), y)
    slant = x - np.float32(0.35) * y + np.float32(0.06) * time
    beams = np.clip(np.sin(slant * np.float32(17) + rng.uniform(0, 6.3)), 0, 1) * (1 - y)
    paint(canvas, (0.75, 0.95, 0.98), beams * np.float32(0.28))
    _below(canvas, y, _ridge(x, rng, 0.88, 0.03), (0.86, 0.78, 0.55), (0.65, 0.55, 0.35))
    for _ in range(7):
        at, tall, lean = rng.uniform(0, 1), rng.uniform(0.12, 0.34), rng.uniform(1, 3)
        weed = (0.15, 0.5, 0.3) if rng.random() < 0.6 else (0.85, 0.42, 0.45)
        sway = np.float32(0.02) * np.sin((0.9 - y) * 14 + time * 5 + lean)
        stalk = np.maximum(np.abs(x - np.float32(at) - sway) - 0.012, (0.92 - tall) - y)
        paint(canvas, weed, cover(np.maximum(stalk, y - np.float32(0.93)), px))
    for _ in range(6):
        at, start = rng.uniform(0, 1), rng.uniform(0.3, 1.2)
        rise = y + np.float32(0.3) * time - np.float32(start)
        bubble = np.abs(np.hypot(x - np.float32(at), rise) - 0.014) - np.float32(0.004)
        paint(canvas, (0.9, 0.98, 1.0), cover(bubble, px) * np.float32(0.8))


def _desert(canvas: Array, x: Array, y: Array, time: Array, rng: np.random.Generator) -> None:
    px = canvas.shape[1]
    _fill(canvas, (0.97, 0.62, 0.35), (1.0, 0.90, 0.66), y / 0.52)
    sun = circle(x, y, rng.uniform(0.1, 0.9), rng.uniform(0.12, 0.34), 0.1)
    paint(canvas, (1.0, 0.97, 0.80), cover(sun, px))
    _below(canvas, y, _ridge(x, rng, 0.48, 0.07), (0.88, 0.62, 0.38), (0.85, 0.60, 0.35))
    _below(canvas, y, _ridge(x, rng, 0.57, 0.03), (0.95, 0.76, 0.46), (0.80, 0.55, 0.28))
    for _ in range(rng.integers(1, 3)):
        at, foot, tall = rng.uniform(0.05, 0.95), rng.uniform(0.58, 0.66), rng.uniform(0.1, 0.18)
        arm = tall * 0.55
        cactus = union(
            capsule(x, y, (at, foot), (at, foot - tall), 0.018),
            capsule(x, y, (at, foot - arm), (at + 0.05, foot - arm), 0.012),
            capsule(x, y, (at + 0.05, foot - arm), (at + 0.05, foot - tall * 0.9), 0.012),
            capsule(x, y, (at, foot - arm * 0.7), (at - 0.05, foot - arm * 0.7), 0.012),
            capsule(x, y, (at - 0.05, foot - arm * 0.7), (at - 0.05, foot - tall * 0.75), 0.012),
        )
        paint(canvas, (0.25, 0.48, 0.28), cover(cactus, px))


def _snow(canvas: Array, x: Array, y: Array, time: Array, rng: np.random.Generator) -> None:
    px = canvas.shape[1]
    _fill(canvas, (0.62, 0.72, 0.86), (0.90, 0.94, 0.98), y / 0.6)
    for _ in range(3):
        top, at, wide = rng.uniform(0.12, 0.3), rng.uniform(0.0, 1.0), rng.uniform(0.25, 0.42)
        rock = polygon(x, y, [(at, top), (at + wide, 0.62), (at - wide, 0.62)])
        jag = np.float32(0.02) * np.sin(x * 60 + at * 9)
        paint(canvas, (0.45, 0.50, 0.60), cover(rock, px))
        paint(canvas, (0.98, 0.99, 1.0), cover(np.maximum(rock, y - (top + 0.12) - jag), px))
    _below(canvas, y, _ridge(x, rng, 0.58, 0.02), (0.97, 0.98, 1.0), (0.80, 0.87, 0.95))
    for _ in range(34):
        at, start, fall = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.2, 0.5)
        drop = np.mod(np.float32(start) + np.float32(fall) * time, 1.0)
        flake = np.hypot(x - np.float32(at) - 0.02 * np.sin(time * 6 + at * 40), y - drop) - 0.011
        paint(canvas, (1.0, 1.0, 1.0), cover(flake, px) * np.float32(0.95))


def _city(canvas: Array, x: Array, y: Array, time: Array, rng: np.random.Generator) -> None:
    px = canvas.shape[1]
    _fill(canvas, (0.55, 0.62, 0.80), (0.98, 0.82, 0.70), y / 0.6)
    left = -0.05
    while left < 1.0:
        wide, top = rng.uniform(0.12, 0.22), rng.uniform(0.1, 0.4)
        wall = rng.uniform(0.32, 0.55)
        tint = (wall * rng.uniform(0.9, 1.15), wall, wall * rng.uniform(0.95, 1.2))
        house = box(
            x, y, left + wide / 2, (top + 0.7) / 2, wide / 2 - 0.006, (0.7 - top) / 2, 0.004
        )
        paint(canvas, tint, cover(house, px))
        column = np.mod((x - np.float32(left)) / np.float32(0.042), 1.0)
        storey = np.mod((y - np.float32(top)) / np.float32(0.062), 1.0)
        pane = (np.abs(column - 0.5) < 0.26) & (np.abs(storey - 0.55) < 0.24)
        inside = cover(house + np.float32(0.018), px) * pane
        paint(canvas, (1.0, 0.90, 0.58), inside.astype(np.float32))
        left += wide
    _below(canvas, y, np.full_like(x, 0.66), (0.70, 0.70, 0.72), (0.66, 0.66, 0.68))
    _below(canvas, y, np.full_like(x, 0.71), (0.33, 0.34, 0.38), (0.24, 0.25, 0.28))
    dash = np.abs(np.mod(x * np.float32(5) + rng.uniform(0, 1), 1.0) - 0.5) - np.float32(0.3)
    line = np.maximum(dash / 5, np.abs(y - np.float32(0.86)) - np.float32(0.012))
    paint(canvas, (0.95, 0.92, 0.75), cover(line, px))


def _night(canvas: Array, x: Array, y: Array, time: Array, rng: np.random.Generator) -> None:
    px = canvas.shape[1]
    _fill(canvas, (0.03, 0.04, 0.16), (0.18, 0.20, 0.42), y / 0.6)
    for _ in range(26):
        star = circle(x, y, rng.uniform(0, 1), rng.uniform(0, 0.5), rng.uniform(0.003, 0.009))
        twinkle = 0.75 + 0.25 * np.sin(time * 9 + rng.uniform(0, 6.3))
        paint(canvas, (1.0, 1.0, 0.88), cover(star, px) * twinkle.astype(np.float32))
    at, high = rng.uniform(0.12, 0.88), rng.uniform(0.1, 0.24)
    moon = np.maximum(circle(x, y, at, high, 0.08), -circle(x, y, at + 0.045, high - 0.02, 0.07))
    paint(canvas, (0.98, 0.96, 0.82), cover(moon, px))
    _below(canvas, y, _ridge(x, rng, 0.54, 0.05), (0.09, 0.11, 0.24), (0.08, 0.10, 0.22))
    _below(canvas, y, _ridge(x, rng, 0.62, 0.02), (0.14, 0.20, 0.26), (0.06, 0.09, 0.14))


def _room(canvas: Array, x: Array, y: Array, time: Array, rng: np.random.Generator) -> None:
    px = canvas.shape[1]
    wall = ((0.93, 0.86, 0.74), (0.80, 0.86, 0.90), (0.88, 0.82, 0.88))[rng.integers(3)]
    _fill(canvas, wall, wall, y)
    at = rng.uniform(0.2, 0.8)
    paint(canvas, (0.98, 0.98, 0.96), cover(box(x, y, at, 0.24, 0.15, 0.15, 0.01), px))
    paint(canvas, (0.55, 0.80, 0.97), cover(box(x, y, at, 0.24, 0.13, 0.13, 0.005), px))
    bars = np.minimum(np.abs(x - np.float32(at)), np.abs(y - np.float32(0.24))) - np.float32(0.01)
    frame = np.maximum(bars, box(x, y, at, 0.24, 0.13, 0.13, 0.005))
    paint(canvas, (0.98, 0.98, 0.96), cover(frame, px))
    _below(canvas, y, np.full_like(x, 0.62), (0.72, 0.52, 0.34), (0.52, 0.35, 0.22))
    boards = np.abs(np.mod((y - 0.62) / 0.095, 1.0) - 0.5) - np.float32(0.46)
    dark = cover(-boards * 0.095, px) * (y > 0.64)
    paint(canvas, (0.45, 0.30, 0.18), dark.astype(np.float32) * np.float32(0.6))
    side = np.mod(at + 0.45, 1.0) * 0.7 + 0.15
    table = union(
        box(x, y, side, 0.53, 0.15, 0.02, 0.005),
        box(x, y, side - 0.12, 0.62, 0.014, 0.09, 0.003),
        box(x, y, side + 0.12, 0.62, 0.014, 0.09, 0.003),
    )
    paint(canvas, (0.38, 0.24, 0.14), cover(table, px))


SCENES: dict[str, Scene] = {
    scene.name: scene
    for scene in (
        Scene(
            "field",
            "over a green field",
            "clouds drift over a green field",
            ("plant", "landscape feature"),
            ("grass", "flowers", "sky"),
            0.6,
            _field,
        ),
        Scene(
            "sea",
            "over the blue sea",
            "waves roll over the blue sea",
            ("water body", "climate/atmosphere component"),
            ("sea", "waves", "sky"),
            0.54,
            _sea,
        ),
        Scene(
            "reef",
            "through a coral reef",
            "seaweed sways in a coral reef",
            ("water body", "organism"),
            ("reef", "seaweed", "bubbles"),
            0.5,
            _reef,
        ),
        Scene(
            "desert",
            "across a sandy desert",
            "the sun burns on a sandy desert",
            ("landscape feature", "soil/substrate"),
            ("sand", "cactus", "dunes"),
            0.6,
            _desert,
        ),
        Scene(
            "snow",
            "below snowy mountains",
            "snow falls on the mountains",
            ("rock/mineral", "weather phenomenon"),
            ("snow", "mountains"),
            0.62,
            _snow,
        ),
        Scene(
            "city",
            "along a city street",
            "lights shine in a city street",
            ("building", "roadway"),
            ("buildings", "street", "windows"),
            0.72,
            _city,
        ),
        Scene(
            "night",
            "under the night sky",
            "stars twinkle in the night sky",
            ("landscape feature", "climate/atmosphere component"),
            ("moon", "stars", "hills"),
            0.64,
            _night,
        ),
        Scene(
            "room",
            "through a room",
            "light falls into an empty room",
            ("furniture", "structure"),
            ("window", "table", "floor"),
            0.66,
            _room,
        ),
    )
}
