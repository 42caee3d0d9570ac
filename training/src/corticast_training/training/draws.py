"""Every random draw of a training, computed from counters and not from a generator's state.

The key of a draw is its purpose: (seed, stage, epoch, step, purpose). Whatever ran before does
not matter, so a resumed training, and one on more devices, draws the same values. Draws are
made on the CPU with Philox, a counter-based generator.

Dropout is the exception in part: it comes from torch's own generator, which is seeded anew for
each part of a step. It resumes exactly, but another number of devices or parts drops other
units.
"""

import hashlib

import numpy as np
import torch


def _words(seed: int, key: tuple[int | str, ...]) -> list[int]:
    text = "\x1f".join(str(item) for item in (seed, *key))
    digest = hashlib.sha256(text.encode()).digest()
    return [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4)]


def generator(seed: int, *key: int | str) -> np.random.Generator:
    """The generator of one draw."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(_words(seed, key))))


def seed_torch(seed: int, *key: int | str) -> None:
    """Sets torch's generators, on every device, for the dropout of one part of a step."""
    torch.manual_seed(_words(seed, key)[0])
