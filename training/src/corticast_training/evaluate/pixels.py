"""Similarity of two pictures: SSIM in two forms, and PSNR.

`ssim_neurons` is the number of the published evaluation, not the usual SSIM. The published code
treats the last axis of a grey picture, its columns, as channels. So each column is a
one-dimensional signal, and the score is the mean over columns. Both forms have Wang
et al.'s constants: Gaussian window of 1.5 px, K = 0.01 and 0.03, population covariance,
intensities 0 to 1.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from skimage.color import rgb2gray
from skimage.metrics import mean_squared_error, structural_similarity

SMALLEST_PX = 11
"""The Gaussian window of the SSIM is this wide."""
_SIGMA_PX, _TRUNCATE = 1.5, 3.5
_C1, _C2 = 0.01**2, 0.03**2


def ssim_neurons(found: NDArray[np.uint8], true: NDArray[np.uint8]) -> float:
    """Mean over columns of the SSIM of each column; pictures `[h, w, 3]`.

    scikit-image computes the same number, but loops over the columns in Python. At 224 px that
    takes 7 times as long: hours for ten repeats of a test set.
    """
    x, y = rgb2gray(found), rgb2gray(true)

    def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
        blurred = gaussian_filter1d(values, _SIGMA_PX, axis=0, mode="reflect", truncate=_TRUNCATE)
        return np.asarray(blurred)

    mean_x, mean_y = smooth(x), smooth(y)
    variance = smooth(x * x) - mean_x**2 + smooth(y * y) - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    likeness /= (mean_x**2 + mean_y**2 + _C1) * (variance + _C2)
    edge = SMALLEST_PX // 2
    return float(likeness[edge:-edge].mean())


def ssim_2d(found: NDArray[np.uint8], true: NDArray[np.uint8]) -> float:
    """The usual SSIM of the luminance; pictures `[h, w, 3]`."""
    score = structural_similarity(  # type: ignore[no-untyped-call]
        rgb2gray(found),
        rgb2gray(true),
        gaussian_weights=True,
        sigma=_SIGMA_PX,
        use_sample_covariance=False,
        data_range=1.0,
    )
    return float(score)


def psnr_db(found: NDArray[np.uint8], true: NDArray[np.uint8]) -> float:
    """10 log10(255² / mean squared error) over all values; infinite for equal pictures."""
    error = float(mean_squared_error(found, true))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def resized(frames: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Frames `[F, h, w, 3]` at another size, bilinear with anti-aliasing."""
    if frames.shape[1:3] == (height, width):
        return frames
    pictures = [
        np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))
        for frame in frames
    ]
    return np.stack(pictures)
