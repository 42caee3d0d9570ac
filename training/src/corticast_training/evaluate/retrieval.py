"""Identification: whether a decoded embedding is closer to its own picture than to others.

Cosine similarity of flattened tokens. Forward retrieval looks for the picture that
belongs to a decoded embedding, backward retrieval for the embedding that belongs to a picture.
The candidates are the whole test set, or a pool of the right one and others drawn at random; the
score is then the expectation over all draws. Embeddings that tie share a rank, so a decoder that
always gives the same embedding scores at chance.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom, rankdata

BLOCK = 64

Rows = Callable[[int, int], NDArray[np.floating]]
"""`rows(first, last)` gives items `[last - first, ...]`; large sets are never whole in memory."""


def similarity(
    found: Rows, n_found: int, true: Rows, n_true: int, block: int = BLOCK
) -> NDArray[np.float32]:
    """Cosine similarity of each found item with each true one, `[n_found, n_true]`."""
    result = np.empty((n_found, n_true), dtype=np.float32)
    for row in range(0, n_found, block):
        rows = slice(row, min(row + block, n_found))
        left = _unit(found(rows.start, rows.stop))
        for column in range(0, n_true, block):
            columns = slice(column, min(column + block, n_true))
            result[rows, columns] = left @ _unit(true(columns.start, columns.stop)).T
    return result


def hits(similarity: NDArray[np.floating], top_k: int, pool: int) -> NDArray[np.float64]:
    """Probability that a column is among the top k of a row if it is the right one.

    Args:
        similarity: `[n, n_column]`.
        top_k: How many ranks count as a hit.
        pool: Number of columns to choose from, including the right one; at most `n_column`.

    Returns:
        `[n, n_column]`, in expectation over pools and over the order of ties.

    """
    n_column = similarity.shape[1]
    better = rankdata(-similarity, method="min", axis=1).astype(np.int64) - 1
    better_or_tied = rankdata(-similarity, method="max", axis=1).astype(np.int64)
    by_rank = hypergeom.cdf(top_k - 1, n_column - 1, np.arange(n_column), pool - 1)
    total = np.concatenate([[0.0], np.cumsum(by_rank)])
    return np.asarray((total[better_or_tied] - total[better]) / (better_or_tied - better))


def _unit(items: NDArray[np.floating]) -> NDArray[np.float32]:
    flat = items.reshape(len(items), -1).astype(np.float32)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12))
