"""The fixed [C, T] matrix that takes a mean image token to a text embedding."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corticast_training.errors import TrainingError
from corticast_training.model.published import read_weights

NAMES = ("clipproj.proj", "proj")
"""The published file's name of it, and ours."""


def read_projection(path: Path) -> tuple[NDArray[np.float32], str]:
    """Reads `coco_tokens_avg_proj.pth`, or a safetensors file with `proj`, and its name."""
    tensors = read_weights(path)
    found = [tensors[name] for name in NAMES if name in tensors]
    if not found or found[0].ndim != 2:
        raise TrainingError(
            f"{path}: holds {', '.join(sorted(tensors))}, expected a matrix {' or '.join(NAMES)}"
        )
    matrix: NDArray[np.float32] = found[0].float().numpy()
    if not np.isfinite(matrix).all():
        raise TrainingError(f"{path}: the projection holds NaN or Inf, expected finite numbers")
    return matrix, path.name


def fit_projection(
    mean_tokens: NDArray[np.float32], text_embed: NDArray[np.float32], ridge: float = 0.1
) -> NDArray[np.float32]:
    """Least squares from mean tokens `[n, C]` to caption embeddings `[n, T]`: `[C, T]`.

    The published matrix is for COCO's pictures and captions; this one is fitted to a data set's
    own training clips. `ridge` is in units of the mean variance of a channel; there is no
    intercept, because the model has only the matrix.
    """
    x, y = mean_tokens.astype(np.float64), text_embed.astype(np.float64)
    gram = x.T @ x
    gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
    fitted: NDArray[np.float32] = np.linalg.solve(gram, x.T @ y).astype(np.float32)
    return fitted
