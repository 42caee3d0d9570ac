"""The sanity check: cross-validated ridge from one task's embedding to BOLD, task by task.

A map of task weights shows which of the tasks a voxel prefers, even if no task explains the voxel.
Ridge shows how well each task explains it alone. Folds are segments of the movie, so that
neighbouring clips are never in both training and test. Regularisation is chosen per voxel, within
the training part.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold

from corticast_training.errors import TrainingError
from corticast_training.interpret.embeddings import Embeddings
from corticast_training.interpret.network import Array, correlation
from corticast_training.progress import progress

ALPHAS = np.logspace(-2, 4, 7)
MAX_FOLDS = 5
MIN_CLIPS = 10


def groups_of(segments: NDArray[np.int64], n_fold: int = MAX_FOLDS) -> NDArray[np.int64]:
    """Which clips are held out together: segments, or fifths if there is only one segment."""
    if len(segments) < MIN_CLIPS:
        raise TrainingError(
            f"{len(segments)} clips, expected at least {MIN_CLIPS} to hold some out"
        )
    if len(np.unique(segments)) >= 2:
        return segments
    return np.arange(len(segments)) * n_fold // len(segments)


def ridge_scores(
    embeddings: Embeddings, bold: Array, groups: NDArray[np.int64]
) -> dict[str, Array]:
    """Task → correlation `[V]` of held-out predictions with BOLD `[n, V]`.

    The mean of each fold's predictions is subtracted, because folds differ in their means.
    """
    folds = GroupKFold(min(MAX_FOLDS, len(np.unique(groups))))
    found = {}
    for task in progress(embeddings, len(embeddings), "ridge"):
        held_out, truth = np.zeros_like(bold), np.zeros_like(bold)
        for train, test in folds.split(bold, groups=groups):
            model = RidgeCV(alphas=ALPHAS, alpha_per_target=True)
            predicted = model.fit(embeddings[task][train], bold[train]).predict(
                embeddings[task][test]
            )
            predicted = predicted.reshape(len(test), -1)
            held_out[test] = predicted - predicted.mean(0)
            truth[test] = bold[test] - bold[test].mean(0)
        found[task] = correlation(held_out, truth)
    return found
