"""Likeness of two pictures: SSIM in two forms, and PSNR.

`ssim_neurons` is the published evaluation's number, not the usual SSIM: there the last axis of
a gray picture, its columns, is taken for channels, so each column is a one-dimensional signal
and the score is the mean over columns. Both forms have Wang et al.'s constants: Gaussian
window of 1.5 px, K = 0.01 and 0.03, population covariance, intensities 0 to 1.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2gray
from skimage.metrics import mean_squared_error, structural_similarity

SMALLEST_PX = 11
"""The Gaussian window of the SSIM is this wide."""
_WANG = {
    "gaussian_weights": True,
    "sigma": 1.5,
    "use_sample_covariance": False,
    "data_range": 1.0,
}


def ssim_neurons(found: NDArray[np.uint8], true: NDArray[np.uint8]) -> float:
    """Mean over columns of the SSIM of each column; pictures `[h, w, 3]`."""
    gray = rgb2gray(found), rgb2gray(true)
    return float(structural_similarity(*gray, channel_axis=-1, **_WANG))


def ssim_2d(found: NDArray[np.uint8], true: NDArray[np.uint8]) -> float:
    """The usual SSIM of the luminance; pictures `[h, w, 3]`."""
    return float(structural_similarity(rgb2gray(found), rgb2gray(true), **_WANG))


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
