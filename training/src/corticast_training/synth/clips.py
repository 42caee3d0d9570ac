"""Clips: one key object that moves in front of a background, its caption, labels and masks.

Each clip has its own random numbers (from seed, split and number), so additional clips never change
earlier ones. Kinds of objects alternate in a shuffled order; about every 13th clip has none.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corticast_training.synth.objects import COLOURS, KINDS, Kind
from corticast_training.synth.scenes import SCENES, Scene
from corticast_training.synth.shapes import Array, cover, ellipse, grid, paint, union

DIRECTIONS = {
    "left": "to the left",
    "right": "to the right",
    "up": "up",
    "down": "down",
    "closer": "closer",
    "away": "away",
}
N_TURN = len(KINDS) + 1
"""Kinds of key objects, and none."""
TRAVEL = 0.42
"""How far an object moves in a clip, canvas widths."""
CAMERA_TILT = 0.08
"""How far the camera looks up or down, canvas widths."""
GROWTH = 1.8
"""How much it grows when it comes closer."""


@dataclass(frozen=True)
class Drawn:
    """One clip with its full description."""

    frames: NDArray[np.uint8]
    """`[F, h, w, 3]`"""
    key_mask: NDArray[np.uint8]
    """`[F, h, w]`, 0 or 1."""
    caption: str
    tags: list[str]
    classes: list[str]
    kind: Kind | None
    scene: Scene
    colour: str | None
    direction: str | None


def kinds_in_turn(seed: int, split: int, n_clip: int) -> list[Kind | None]:
    """Which kind each clip shows: all of them once, shuffled, then again."""
    rng = np.random.default_rng([seed, split, 0])
    turns: list[Kind | None] = []
    while len(turns) < n_clip:
        turns += [KINDS[k] if k < len(KINDS) else None for k in rng.permutation(N_TURN)]
    return turns[:n_clip]


def draw_clip(
    seed: int, split: int, number: int, kind: Kind | None, n_frame: int, px: int
) -> Drawn:
    """Draws clip `number` of a split."""
    rng = np.random.default_rng([seed, split, 1, number])
    names = kind.scenes if kind else tuple(SCENES)
    scene = SCENES[names[rng.integers(len(names))]]
    x, y = grid(px)
    time = np.linspace(0, 1, n_frame, dtype=np.float32)[:, None, None]
    canvas = np.zeros((n_frame, px, px, 3), np.float32)
    tilt = float(rng.uniform(-CAMERA_TILT, CAMERA_TILT))
    scene.draw(canvas, x, y - np.float32(tilt), time, rng)
    _light(canvas, x, y, rng)

    mask = np.zeros((n_frame, px, px), np.uint8)
    colour = direction = None
    caption = scene.empty
    if kind is not None:
        colour = kind.colours[rng.integers(len(kind.colours))]
        ways = (
            ("left", "right", "closer", "away")
            if kind.grounded
            else ("left", "right", "up", "down")
        )
        direction = ways[rng.integers(len(ways))]
        horizon = scene.horizon + tilt
        mask, share = _draw_object(canvas, kind, scene, horizon, colour, direction, time, rng)
        size = "small " if share < 0.33 else "large " if share > 0.67 else ""
        article = "an" if not size and colour[0] in "aeiou" else "a"
        moves = f"{kind.verb} {DIRECTIONS[direction]} {scene.place}"
        caption = f"{article} {size}{colour} {kind.name} {moves}"
    found = set(scene.classes) | set(kind.classes if kind else ())
    return Drawn(
        frames=(np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8),
        key_mask=mask,
        caption=caption,
        tags=[*([kind.name] if kind else []), *scene.tags],
        classes=sorted(found),
        kind=kind,
        scene=scene,
        colour=colour,
        direction=direction,
    )


def _light(canvas: Array, x: Array, y: Array, rng: np.random.Generator) -> None:
    """The daylight: its brightness, colour temperature and direction."""
    bright, warm = rng.uniform(0.78, 1.1), rng.uniform(-0.13, 0.13)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5)
    side = np.float32(np.cos(angle)) * (x - 0.5) + np.float32(np.sin(angle)) * (y - 0.5)
    tint = np.array([1 + warm, 1, 1 - warm]) * bright
    canvas *= (1 + np.float32(strength) * side)[..., None] * tint.astype(np.float32)


def _draw_object(
    canvas: Array,
    kind: Kind,
    scene: Scene,
    horizon: float,
    colour: str,
    direction: str,
    time: Array,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], float]:
    """Draws the key object. Returns its mask `[F, h, w]` and its size, 0 smallest to 1."""
    px = canvas.shape[1]
    share = float(rng.uniform())
    size = kind.size[0] + share * (kind.size[1] - kind.size[0])
    middle = time - np.float32(0.5)
    cx = np.full_like(time, rng.uniform(0.28, 0.72))
    lowest = 0.95 - size
    top = max(horizon - 0.55 * size, size + 0.02) if kind.grounded else 0.16 + 0.3 * size
    bottom = lowest if kind.grounded else min(0.62, lowest)
    cy = np.full_like(time, rng.uniform(top, max(bottom, top + 0.01)))
    scale = np.full_like(time, size)
    if direction in ("left", "right"):
        cx = np.float32(rng.uniform(0.42, 0.58)) + middle * np.float32(
            TRAVEL if direction == "right" else -TRAVEL
        )
    elif direction in ("up", "down"):
        cy = np.float32(rng.uniform(0.42, 0.54)) + middle * np.float32(
            TRAVEL if direction == "down" else -TRAVEL
        )
    else:
        power = middle if direction == "closer" else -middle
        scale = np.float32(size) * np.float32(GROWTH) ** power
        cy = cy + (scale - size) * np.float32(0.5)
    facing = -1.0 if direction == "left" or (direction != "right" and rng.random() < 0.5) else 1.0

    x, y = grid(px)
    u, v = (x - cx) / scale * np.float32(facing), (y - cy) / scale
    phase = time * np.float32(TRAVEL / size) + np.float32(rng.uniform(0, 1))
    if kind.grounded and scene.name != "sea":
        shadow = ellipse(u, v, 0.0, 0.93, 0.95, 0.14) * scale
        paint(canvas, (0.0, 0.0, 0.0), cover(shadow, px // 4) * np.float32(0.3))
    if "light source" in kind.classes:
        glow = np.exp(-(u**2 + v**2) / np.float32(2.2))
        paint(canvas, (1.0, 0.85, 0.5), (glow * 0.45).astype(np.float32))
    parts = [
        (rgb, np.broadcast_to(distance, canvas.shape[:3]) * scale)
        for rgb, distance in kind.draw(u, v, phase, COLOURS[colour])
    ]
    outline = union(*(distance for _, distance in parts))
    paint(canvas, (0.08, 0.08, 0.10), cover(outline - np.float32(0.006), px) * np.float32(0.55))
    for rgb, distance in parts:
        paint(canvas, rgb, cover(distance, px))
    return (outline < 0).astype(np.uint8), share


def draw_clips(seed: int, split: int, n_clip: int, n_frame: int, px: int) -> Iterable[Drawn]:
    """Draws the clips of a split (0 training, 1 test) one after the other."""
    for number, kind in enumerate(kinds_in_turn(seed, split, n_clip)):
        yield draw_clip(seed, split, number, kind, n_frame, px)
