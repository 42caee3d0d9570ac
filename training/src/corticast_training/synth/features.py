"""The features that simulated voxels respond to: maps of the frames, and the clip's labels.

Maps are `[n, MAP, MAP]`, averaged over a clip's frames: luminance, red-green and blue-yellow
opponency, contrast within a pixel of the map, energy of change, and motion in four directions
by the sign of the product of temporal and spatial gradient (after Adelson & Bergen 1985,
J. Opt. Soc. Am. A 2:284, at one scale).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corticast_training.synth.clips import Drawn
from corticast_training.synth.shapes import Array

MAP = 16
EARLY = ("luminance", "red_green", "blue_yellow", "contrast")
MOTION = ("change", "rightward", "leftward", "downward", "upward")
POSITION = ("key_object",)


@dataclass(frozen=True)
class Seen:
    """Features of one clip."""

    maps: Array
    """`[n_map, MAP, MAP]`, in the order of EARLY, MOTION, POSITION."""
    meaning: frozenset[str]
    """Labels such as `class animal`, `kind dog`, `colour red`, `direction left`."""


def see(clip: Drawn) -> Seen:
    """Features of one drawn clip; only these reach the simulated brain."""
    frames = clip.frames.astype(np.float32) / 255
    red, green, blue = np.moveaxis(frames, -1, 0)
    light = (red + green + blue) / 3
    across, down = np.gradient(light, axis=2), np.gradient(light, axis=1)
    change = np.diff(light, axis=0)
    horizontal, vertical = -change * across[1:], -change * down[1:]
    maps = [
        _pool(light),
        _pool(red - green),
        _pool(blue - (red + green) / 2),
        np.sqrt(np.maximum(_pool(light**2) - _pool(light) ** 2, 0)),
        _pool(np.abs(change)),
        _pool(np.maximum(horizontal, 0)),
        _pool(np.maximum(-horizontal, 0)),
        _pool(np.maximum(vertical, 0)),
        _pool(np.maximum(-vertical, 0)),
        _pool(clip.key_mask.astype(np.float32)),
    ]
    meaning = {f"scene {clip.scene.name}", *(f"class {name}" for name in clip.classes)}
    if clip.kind is not None:
        meaning |= {
            f"kind {clip.kind.name}",
            f"colour {clip.colour}",
            f"direction {clip.direction}",
        }
    return Seen(np.stack([each.mean(axis=0) for each in maps]), frozenset(meaning))


def _pool(frames: Array) -> Array:
    """Mean over squares: `[F, h, w]` → `[F, MAP, MAP]`."""
    n_frame, px, _ = frames.shape
    step = px // MAP
    pooled: Array = frames.reshape(n_frame, MAP, step, MAP, step).mean(axis=(2, 4))
    return pooled


def meanings(seen: list[Seen]) -> tuple[list[str], NDArray[np.float32]]:
    """All labels in order, and a table `[n, n_label]` of 0 and 1."""
    labels = sorted(frozenset().union(*(each.meaning for each in seen)))
    table = [[label in each.meaning for label in labels] for each in seen]
    return labels, np.array(table, dtype=np.float32)
