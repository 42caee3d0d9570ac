"""CLIP-pcc: how similar the frames of one video are to CLIP, whatever they show."""

import numpy as np
from numpy.typing import NDArray


def clip_pcc(embeddings: NDArray[np.floating]) -> float:
    """Mean cosine similarity of all pairs of different frames; `[F, T]`, F of at least 2."""
    values = embeddings.astype(np.float64)
    unit = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    cosine = unit @ unit.T
    return float(cosine[np.triu_indices(len(unit), k=1)].mean())
