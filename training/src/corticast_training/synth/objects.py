"""The key objects: their looks, movements and names.

An object is drawn in its own units: `u` ahead (in its direction of movement), `v` down, about -1 to
1. It returns its parts from back to front as (colour, signed distance); all of them together are
its mask. `phase` `[F, 1, 1]` is how far it has moved, in its own sizes: wheels and legs turn with
it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from corticast_training.synth.shapes import (
    Array,
    box,
    capsule,
    circle,
    ellipse,
    polygon,
    union,
)

Rgb = tuple[float, float, float]
Parts = list[tuple[Rgb, Array]]

COLOURS: dict[str, Rgb] = {
    "red": (0.86, 0.16, 0.15),
    "orange": (0.96, 0.55, 0.12),
    "yellow": (0.98, 0.85, 0.18),
    "green": (0.16, 0.62, 0.27),
    "blue": (0.16, 0.36, 0.85),
    "purple": (0.52, 0.24, 0.72),
    "pink": (0.96, 0.55, 0.70),
    "white": (0.96, 0.96, 0.96),
    "black": (0.13, 0.13, 0.15),
    "brown": (0.50, 0.31, 0.16),
}
DARK: Rgb = (0.12, 0.12, 0.14)
WHITE: Rgb = (0.97, 0.97, 0.97)
SKIN: Rgb = (0.94, 0.76, 0.62)
GLASS: Rgb = (0.72, 0.88, 0.96)
WOOD: Rgb = (0.42, 0.27, 0.15)
LEAF: Rgb = (0.24, 0.62, 0.22)


@dataclass(frozen=True)
class Kind:
    """One kind of key object."""

    name: str
    classes: tuple[str, ...]
    """Of the 51; the first is the key class."""
    colours: tuple[str, ...]
    verb: str
    scenes: tuple[str, ...]
    grounded: bool
    """Stands on the ground, goes left, right, closer or away; else up and down too."""
    size: tuple[float, float]
    """Smallest and largest half-width, in canvas widths."""
    draw: Callable[[Array, Array, Array, Rgb], Parts]


def _shade(colour: Rgb, factor: float) -> Rgb:
    red, green, blue = (min(1.0, part * factor) for part in colour)
    return red, green, blue


def _ball(u: Array, v: Array, phase: Array, colour: Rgb) -> Parts:
    turn = phase / 0.85
    along = u * np.cos(turn) + v * np.sin(turn)
    across = -u * np.sin(turn) + v * np.cos(turn)
    disc = circle(u, v, 0, 0, 0.85)
    return [
        (colour, disc),
        (WHITE, np.maximum(disc, np.abs(across) - np.float32(0.2))),
        (_shade(colour, 0.55), np.maximum(disc, circle(along, across, 0, 0, 0.3))),
        (WHITE, circle(u, v, -0.3, -0.42, 0.12)),
    ]


def _legs(
    u: Array, v: Array, phase: Array, at: tuple[float, ...], top: float, width: float
) -> Array:
    legs = []
    for number, start in enumerate(at):
        swing = np.float32(0.28) * np.sin(phase * 2.5 + np.pi * number)
        legs.append(capsule(u, v, (start, top), (start + swing, 0.92), width))
    return union(*legs)


def _dog(u: Array, v: Array, phase: Array, colour: Rgb) -> Parts:
    wag = np.float32(0.2) * np.sin(phase * 5)
    dark = _shade(colour, 0.68)
    return [
        (dark, _legs(u, v, phase, (-0.55, 0.42), 0.25, 0.12)),
        (colour, _legs(u, v, phase + np.pi / 2, (-0.42, 0.55), 0.25, 0.12)),
        (dark, capsule(u, v, (-0.75, -0.05), (-1.05, -0.5 + wag), 0.09)),
        (colour, ellipse(u, v, -0.02, 0.08, 0.8, 0.37)),
        (colour, circle(u, v, 0.72, -0.4, 0.36)),
        (colour, ellipse(u, v, 1.02, -0.28, 0.22, 0.16)),
        (dark, ellipse(u, v, 0.5, -0.38, 0.14, 0.33)),
        (DARK, circle(u, v, 1.18, -0.32, 0.08)),
        (DARK, circle(u, v, 0.82, -0.5, 0.07)),
    ]


def _person(u: Array, v: Array, phase: Array, colour: Rgb) -> Parts:
    swing = np.float32(0.35) * np.sin(phase * 2.5)
    return [
        (_shade(colour, 0.7), capsule(u, v, (0.0, -0.3), (-swing, 0.2), 0.1)),
        (DARK, _legs(u, v, phase, (-0.08, 0.08), 0.25, 0.14)),
        (colour, box(u, v, 0, -0.08, 0.28, 0.42, 0.16)),
        (_shade(colour, 0.85), capsule(u, v, (0.05, -0.32), (swing, 0.2), 0.1)),
        (SKIN, circle(u, v, 0.02, -0.72, 0.26)),
        (WOOD, np.maximum(circle(u, v, 0.0, -0.74, 0.28), v + np.float32(0.78))),
        (DARK, circle(u, v, 0.14, -0.7, 0.05)),
    ]


def _wheel(u: Array, v: Array, cx: float, radius: float) -> Parts:
    return [
        (DARK, circle(u, v, cx, 0.9 - radius, radius)),
        ((0.75, 0.75, 0.78), circle(u, v, cx, 0.9 - radius, radius * 0.45)),
    ]


def _car(u: Array, v: Array, phase: Array, colour: Rgb) -> Parts:
    cabin = polygon(u, v, [(-0.38, -0.35), (0.25, -0.35), (0.58, 0.12), (-0.72, 0.12)])
    glass = polygon(u, v, [(-0.32, -0.25), (0.2, -0.25), (0.42, 0.08), (-0.56, 0.08)])
    return [
        (_shade(colour, 0.85), cabin - np.float32(0.06)),
        (GLASS, glass),
        (_shade(colour, 0.85), box(u, v, -0.06, -0.08, 0.05, 0.2, 0.01)),
        (colour, box(u, v, 0, 0.34, 1.08, 0.28, 0.16)),
        ((1.0, 0.92, 0.55), ellipse(u, v, 0.99, 0.26, 0.09, 0.1)),
        *_wheel(u, v, -0.58, 0.3),
        *_wheel(u, v, 0.58, 0.3),
    ]


def _boat(u: Array, v: Array, phase: Array, colour: Rgb) -> Parts:
    v = np.asarray(v + np.float32(0.06) * np.sin(phase * 4), np.float32)
    return [
        (WOOD, box(u, v, 0.0, -0.2, 0.05, 0.75, 0.02)),
        (WHITE, polygon(u, v, [(0.1, -0.95), (0.78, 0.28), (0.1, 0.28)])),
        ((0.88, 0.9, 0.94), polygon(u, v, [(-0.1, -0.75), (-0.1, 0.28), (-0.66, 0.28)])),
        (colour, polygon(u, v, [(-0.95, 0.4), (1.05, 0.4), (0.68, 0.85), (-0.7, 0.85)])),
        (WHITE, box(u, v, 0.03, 0.46, 0.9, 0.045, 0.01)),
    ]


def _plane(u: Array, v: Array, phase: Array, colour: Rgb) -> Parts:
    windows = union(*(circle(u, v, at, -0.06, 0.065) for at in (-0.35, -0.1, 0.15, 0.4)))
    return [
        (
            _shade(colour, 0.7),
            polygon(u, v, [(-0.15, -0.12), (0.25, -0.12), (-0.1, -0.6), (-0.32, -0.6)][::-1]),
        ),
        (colour, polygon(u, v, [(-1.1, -0.55), (-0.85, -0.55), (-0.55, 0.0), (-0.95, 0.0)])),
        (WHITE, ellipse(u, v, 0.02, 0.0, 1.02, 0.24)),
        (colour, np.maximum(ellipse(u, v, 0.02, 0.0, 1.02, 0.24), np.float32(0.07) - v)),
        (GLASS, ellipse(u, v, 0.78, -0.08, 0.13, 0.08)),
        ((0.25, 0.4, 0.6), windows),
        (
            _shade(colour, 0.8),
            polygon(u, v, [(-0.2, 0.08), (0.32, 0.08), (-0.28, 0.66), (-0.55, 0.66)]),
        ),
    ]


def _fish(u: Array, v: Array, phase: Array, colour: Rgb) -> Parts:
    tail = np.asarray(v - np.float32(0.12) * np.sin(phase * 5), np.float32)
    body = ellipse(u, v, 0.15, 0.0, 0.78, 0.46)
    return [
        (_shade(colour, 0.75), polygon(u, tail, [(-0.45, 0.0), (-1.05, 0.48), (-1.05, -0.48)])),
        (_shade(colour, 0.75), polygon(u, v, [(0.3, -0.36), (-0.2, -0.72), (-0.3, -0.3)][::-1])),
        (colour, body),
        (WHITE, np.maximum(body, np.abs(u - np.float32(0.2)) - np.float32(0.09))),
        (WHITE, np.maximum(body, np.abs(u + np.float32(0.25)) - np.float32(0.08))),
        (WHITE, circle(u, v, 0.62, -0.12, 0.13)),
        (DARK, circle(u, v, 0.65, -0.12, 0.07)),
    ]


def _butterfly(u: Array, v: Array, phase: Array, colour: Rgb) -> Parts:
    open_ = np.float32(0.78) + np.float32(0.22) * np.cos(phase * 6)
    side = np.abs(u) / open_
    shrink = np.minimum(open_, 1.0)
    upper = ellipse(side, v, 0.5, -0.38, 0.48, 0.42) * shrink
    lower = ellipse(side, v, 0.42, 0.36, 0.36, 0.36) * shrink
    return [
        (DARK, union(upper, lower)),
        (colour, union(upper, lower) + np.float32(0.09)),
        (WHITE, circle(side, v, 0.6, -0.42, 0.13) * shrink),
        (DARK, capsule(u, v, (0.0, -0.5), (0.0, 0.55), 0.1)),
        (DARK, capsule(np.abs(u), v, (0.0, -0.5), (0.25, -0.9), 0.045)),
    ]


def _apple(u: Array, v: Array, phase: Array, colour: Rgb) -> Parts:
    side = np.abs(u)
    return [
        (WOOD, capsule(u, v, (0.0, -0.45), (0.1, -0.92), 0.08)),
        (LEAF, ellipse(u, v, 0.36, -0.78, 0.28, 0.13)),
        (colour, union(circle(side, v, 0.3, 0.08, 0.55), ellipse(u, v, 0.0, 0.35, 0.55, 0.52))),
        (WHITE, ellipse(u, v, -0.42, -0.1, 0.12, 0.2)),
    ]


def _balloon(u: Array, v: Array, phase: Array, colour: Rgb) -> Parts:
    sway = np.float32(0.12) * np.sin(phase * 2)
    return [
        (DARK, capsule(u, v, (0.0, 0.45), (sway, 1.15), 0.035)),
        (_shade(colour, 0.8), polygon(u, v, [(0.0, 0.3), (0.14, 0.56), (-0.14, 0.56)])),
        (colour, ellipse(u, v, 0.0, -0.22, 0.62, 0.72)),
        (WHITE, ellipse(u, v, -0.24, -0.5, 0.11, 0.18)),
    ]


def _snake(u: Array, v: Array, phase: Array, colour: Rgb) -> Parts:
    wave = np.float32(0.2) * np.sin(u * 4 - phase * 4)
    thick = np.float32(0.17) * np.clip((u + 1.25) * 1.6, 0.15, 1)
    body = np.maximum(
        np.abs(v - np.float32(0.6) - wave) * np.float32(0.8) - thick, np.abs(u) - 1.05
    )
    stripes = np.maximum(body, np.float32(0.06) - np.abs(np.mod(u * 1.0, 0.5) - np.float32(0.25)))
    head = v - np.float32(0.54) - np.float32(0.2) * np.sin(4.2 - phase * 4)
    return [
        ((0.85, 0.1, 0.2), capsule(u, head, (1.2, 0.0), (1.5, 0.02), 0.04)),
        (_shade(colour, 0.6), body),
        (colour, stripes),
        (colour, ellipse(u, head, 1.08, 0.0, 0.28, 0.22)),
        (DARK, circle(u, head, 1.16, -0.07, 0.06)),
    ]


def _lantern(u: Array, v: Array, phase: Array, colour: Rgb) -> Parts:
    body = ellipse(u, v, 0.0, 0.0, 0.66, 0.62)
    ribs = np.maximum(body, np.abs(np.mod(u + 0.165, 0.33) - np.float32(0.165)) - np.float32(0.035))
    return [
        (DARK, capsule(u, v, (0.0, -0.6), (0.0, -1.0), 0.04)),
        ((0.98, 0.78, 0.25), capsule(u, v, (0.0, 0.6), (0.0, 1.05), 0.06)),
        (colour, body),
        ((1.0, 0.93, 0.6), ellipse(u, v, 0.0, 0.02, 0.34, 0.38)),
        (_shade(colour, 0.75), ribs),
        (DARK, box(u, v, 0.0, -0.6, 0.28, 0.09, 0.03)),
        (DARK, box(u, v, 0.0, 0.6, 0.28, 0.09, 0.03)),
    ]


BRIGHT = ("red", "orange", "yellow", "green", "blue", "purple", "pink")
LAND = ("field", "desert", "snow", "city", "night")
SKIES = ("field", "sea", "desert", "snow", "city", "night")

KINDS: tuple[Kind, ...] = (
    Kind(
        "ball",
        ("sports equipment", "toy"),
        BRIGHT,
        "rolls",
        (*LAND, "room"),
        True,
        (0.12, 0.2),
        _ball,
    ),
    Kind(
        "dog",
        ("animal", "mammal"),
        ("brown", "white", "black"),
        "runs",
        (*LAND, "room"),
        True,
        (0.16, 0.24),
        _dog,
    ),
    Kind(
        "person",
        ("human", "clothing"),
        BRIGHT,
        "walks",
        (*LAND, "room"),
        True,
        (0.2, 0.31),
        _person,
    ),
    Kind("car", ("vehicle",), (*BRIGHT, "white"), "drives", LAND, True, (0.17, 0.25), _car),
    Kind("boat", ("vehicle",), BRIGHT, "sails", ("sea",), True, (0.18, 0.29), _boat),
    Kind(
        "plane", ("flying vehicle", "vehicle"), BRIGHT, "flies", SKIES, False, (0.17, 0.25), _plane
    ),
    Kind("fish", ("animal", "fish"), BRIGHT, "swims", ("reef",), False, (0.16, 0.25), _fish),
    Kind(
        "butterfly",
        ("animal", "insect"),
        BRIGHT,
        "flutters",
        ("field", "desert", "room"),
        False,
        (0.14, 0.24),
        _butterfly,
    ),
    Kind(
        "apple",
        ("fruit", "food"),
        ("red", "green", "yellow"),
        "slides",
        ("field", "room", "snow"),
        True,
        (0.12, 0.2),
        _apple,
    ),
    Kind(
        "balloon",
        ("toy", "decoration"),
        BRIGHT,
        "floats",
        (*SKIES, "room"),
        False,
        (0.16, 0.24),
        _balloon,
    ),
    Kind(
        "snake",
        ("animal", "reptile"),
        ("green", "brown", "yellow", "purple"),
        "crawls",
        ("field", "desert", "night"),
        True,
        (0.18, 0.28),
        _snake,
    ),
    Kind(
        "lantern",
        ("light source", "decoration"),
        ("red", "orange", "yellow", "pink"),
        "drifts",
        ("night", "sea", "city", "room"),
        False,
        (0.14, 0.23),
        _lantern,
    ),
)
