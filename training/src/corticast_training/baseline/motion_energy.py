"""Motion energy of clips: a pyramid of spatio-temporal Gabor filters, in quadrature.

After Adelson & Bergen 1985 (J. Opt. Soc. Am. A 2:284) and Nishimoto et al. 2011 (Curr. Biol.
21:1641). Luminance (CIE L*) of a clip's frames passes a Gabor filter of every place, spatial
frequency, orientation and temporal frequency; the energy is the magnitude of its complex answer,
then log(1 + energy).

```text
spatial frequency   0 (a blob)   2     4     8     16   cycles a picture
places              1            1x1   2x2   4x4   7x7  2.4 wavelengths apart
orientations        -            4 each
temporal frequency  0, 1, 2      0, ±1, ±2              cycles a clip; its sign is the direction
```

1,403 features in all. A spatial and a temporal filter are one complex filter each, so a
drifting Gabor is their product.
"""

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab

from corticast_training.errors import TrainingError
from corticast_training.evaluate.pixels import resized

EDGE = 64
"""Pixels of a picture's edge: twice the 16 cycles and some more."""
CYCLES = (2, 4, 8, 16)
ORIENTATIONS = 4
CYCLES_PER_CLIP = (0, 1, -1, 2, -2)
SIGMA_WAVELENGTHS = 0.6
"""S.d. of the Gaussian envelope, in wavelengths."""
SPACING_SIGMA = 4.0
BLOB_SIGMA = 0.25
"""S.d. of the filter without a wave, in pictures."""

Filters = NDArray[np.complex64]


def places(cycles: int) -> NDArray[np.float64]:
    """Centres along one axis, in pictures: as many as fit, spread evenly around the middle."""
    spacing = SPACING_SIGMA * SIGMA_WAVELENGTHS / cycles
    n = int(1 / spacing) + 1
    return np.asarray(0.5 + spacing * (np.arange(n) - (n - 1) / 2))


def spatial_filters() -> tuple[Filters, Filters]:
    """Gabors `[n, EDGE²]` and the blob `[1, EDGE²]`; a Gabor answers nothing to a flat picture."""
    at = (np.arange(EDGE) + 0.5) / EDGE
    y, x = np.meshgrid(at, at, indexing="ij")
    found = []
    for cycles in CYCLES:
        sigma = SIGMA_WAVELENGTHS / cycles
        for cy in places(cycles):
            for cx in places(cycles):
                envelope = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
                envelope /= envelope.sum()
                for angle in np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS:
                    along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
                    wave = np.exp(2j * np.pi * cycles * along)
                    found.append(envelope * (wave - (envelope * wave).sum()))
    blob = np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / (2 * BLOB_SIGMA**2))
    flat = np.array(found, dtype=np.complex64).reshape(len(found), -1)
    return flat, (blob / blob.sum()).astype(np.complex64).reshape(1, -1)


def temporal_filters(n_frame: int) -> Filters:
    """Waves `[5, F]` of a clip, in the order of `CYCLES_PER_CLIP`."""
    phase = np.arange(n_frame) / n_frame
    waves = np.exp(-2j * np.pi * np.outer(CYCLES_PER_CLIP, phase)) / n_frame
    return np.asarray(waves, dtype=np.complex64)


def motion_energy(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features `[n, 1403]` of clips `[n, F, h, w, 3]`, read one at a time.

    Raises `TrainingError` where clips have too few frames or pixels.
    """
    n_frame, height, width = frames.shape[1:4]
    if n_frame <= 2 * max(CYCLES_PER_CLIP):
        raise TrainingError(
            f"clips have {n_frame} frames, expected at least {2 * max(CYCLES_PER_CLIP) + 1}: the "
            "direction of fast motion cannot be told from fewer"
        )
    if min(height, width) < EDGE:
        raise TrainingError(
            f"frames are {width} x {height} px, expected at least {EDGE} x {EDGE} for the finest "
            "filters"
        )
    gabors, blob = spatial_filters()
    waves = temporal_filters(n_frame)
    return np.stack([_of_clip(np.asarray(clip), gabors, blob, waves) for clip in frames])


def _of_clip(
    clip: NDArray[np.uint8], gabors: Filters, blob: Filters, waves: Filters
) -> NDArray[np.float32]:
    light = rgb2lab(resized(clip, EDGE, EDGE))[..., 0].reshape(len(clip), -1)
    light = light.astype(np.complex64)
    drifting = np.abs(waves @ (light @ gabors.T)).T
    # A blob has no direction: both signs have one energy.
    once = [k for k, cycles in enumerate(CYCLES_PER_CLIP) if cycles >= 0]
    whole = np.abs(waves[once] @ (light @ blob.T))
    energy = np.concatenate([whole.ravel(), drifting.ravel()])
    return np.asarray(np.log1p(energy), dtype=np.float32)
