"""Which training clips are held out to choose the best weights by."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from corticast_training.errors import TrainingError
from corticast_training.training.draws import generator


def held_out(segments: Sequence[int], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Marks one stretch of neighbouring clips in every segment: `[n_clip]`.

    Neighbours are held out together, because BOLD is slow: a clip between two that were trained
    on is half known. `segments` is the segment of each clip, in order of time.
    """
    if not 0 <= fraction < 1:
        raise TrainingError(f"validation_fraction is {fraction}, expected 0 or more, below 1")
    segment = np.asarray(segments)
    chosen = np.zeros(len(segment), dtype=np.bool_)
    for number in np.unique(segment):
        clips = np.flatnonzero(segment == number)
        n = round(fraction * len(clips))
        start = generator(seed, "validation", int(number)).integers(len(clips) - n + 1)
        chosen[clips[start : start + n]] = True
    return chosen
