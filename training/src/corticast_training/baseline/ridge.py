"""Ridge regression as weights of the training rows, its strength by cross-validation.

A prediction of ridge with an intercept is a weighted sum of the training targets, and the
weights follow from the inputs alone:

```text
prediction = W · targets      W [n_new, m], every row sums to 1
```

So targets of half a million numbers, such as CLIP tokens, are neither held in memory nor solved
for: the held-out error needs their inner products only. One eigendecomposition serves all
strengths. Folds are segments of the movie: neighbouring clips look alike and BOLD is slow, so a
neighbour in the training part would favour a ridge that is too weak.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from corticast_training.errors import TrainingError
from corticast_training.progress import progress

Array = NDArray[np.float64]

STRENGTHS = np.logspace(-4, 4, 17)
"""α over the mean squared length of a training row, half a decade apart."""
MAX_FOLDS = 5


class Ridge:
    """Ridge on inputs given by their inner products only."""

    def __init__(self, kernel: Array, where: str) -> None:
        """`kernel` `[m, m]`: inner products of the training rows; `where` names them."""
        self._of_train = kernel.mean(axis=0)
        self._mean = float(self._of_train.mean())
        centred = kernel - self._of_train - self._of_train[:, None] + self._mean
        self._scale = float(np.trace(centred)) / len(kernel)
        if not self._scale > 1e-12 * max(1.0, float(np.trace(kernel)) / len(kernel)):
            raise TrainingError(f"{where} do not vary from clip to clip: there is nothing to learn")
        values, self.vectors = np.linalg.eigh(centred)
        self._values = values.clip(min=0)

    def turned(self, across: Array) -> Array:
        """Inner products `[n_new, m]` of new with training rows, by eigenvector.

        Training rows count as centred on their mean, which is never formed.
        """
        centred = across - across.mean(axis=1, keepdims=True) - self._of_train + self._mean
        return np.asarray(centred @ self.vectors)

    def damping(self, strength: float) -> Array:
        """What each eigenvector is multiplied by, `[m]`."""
        return np.asarray(1 / (self._values + strength * self._scale))

    def weights(self, across: Array, strengths: Sequence[float] | Array) -> Iterator[Array]:
        """W `[n_new, m]` for each strength; `across` `[n_new, m]` as for `turned`."""
        turned = self.turned(across)
        for strength in strengths:
            slopes = (turned * self.damping(strength)) @ self.vectors.T
            yield slopes - slopes.mean(axis=1, keepdims=True) + 1 / slopes.shape[1]

    def predictions(
        self, across: Array, targets: Array, strengths: Sequence[float] | Array
    ) -> Iterator[Array]:
        """Predicted targets `[n_new, D]` for each strength, from those of the rows `[m, D]`."""
        mean = targets.mean(axis=0)
        turned, projected = self.turned(across), self.vectors.T @ (targets - mean)
        for strength in strengths:
            yield (turned * self.damping(strength)) @ projected + mean


@dataclass(frozen=True)
class Choice:
    """What cross-validation says about a regression."""

    strength: float
    explained: float
    """Share of the held-out variance that is explained; below 0 where the mean says more."""
    at_edge: bool
    """Whether the strength is the smallest or largest that was tried."""


def folds_of(segments: NDArray[np.int64], n_fold: int | None = None) -> list[NDArray[np.bool_]]:
    """What is held out in each fold, `[n]`: whole segments.

    `n_fold` None takes 5, or as many as there are segments. Raises `TrainingError` where there
    are fewer segments than folds.
    """
    n_segment = len(np.unique(segments))
    wanted = n_fold if n_fold is not None else max(2, min(MAX_FOLDS, n_segment))
    if wanted < 2:
        raise TrainingError(f"{wanted} folds, expected 2 or more for cross-validation")
    if n_segment < wanted:
        raise TrainingError(
            f"{n_segment} training segments, expected at least {wanted}, one for each fold of the "
            "cross-validation" + (": lower --folds" if n_segment >= 2 else "")
        )
    folds = []
    for _, held_out in GroupKFold(wanted).split(segments, groups=segments):
        out = np.zeros(len(segments), dtype=np.bool_)
        out[held_out] = True
        folds.append(out)
    return folds


def choose_strengths(
    kernel: Array, n_repeat: int, folds: Sequence[NDArray[np.bool_]], grams: Mapping[str, Array]
) -> dict[str, Choice]:
    """One strength for each set of targets, by the held-out squared error.

    Args:
        kernel: Inner products of the inputs, `[R·n, R·n]`, repeat after repeat.
        n_repeat: R: how often each target was seen.
        folds: `[n]` each.
        grams: Name → inner products of the targets, `[n, n]`, about any origin.

    """
    errors = {name: np.zeros(len(STRENGTHS)) for name in grams}
    variance = dict.fromkeys(grams, 0.0)
    for out in progress(folds, len(folds), "cross-validating"):
        rows = np.tile(out, n_repeat)
        ridge = Ridge(kernel[np.ix_(~rows, ~rows)], "training windows")
        turned = ridge.turned(kernel[np.ix_(rows, ~rows)])
        for name, gram in grams.items():
            total, found = _held_out_errors(ridge, turned, n_repeat, _about_kept(gram, out), out)
            variance[name] += total
            errors[name] += found
    choices = {}
    for name, error in errors.items():
        best = int(error.argmin())
        choices[name] = Choice(
            strength=float(STRENGTHS[best]),
            explained=1 - float(error[best]) / variance[name] if variance[name] > 0 else 0.0,
            at_edge=best in (0, len(STRENGTHS) - 1),
        )
    return choices


def _about_kept(gram: Array, out: NDArray[np.bool_]) -> Array:
    """Inner products about the mean of the clips that are not held out, `[n, n]`."""
    to_kept = gram[:, ~out].mean(axis=1)
    return np.asarray(gram - to_kept - to_kept[:, None] + to_kept[~out].mean())


def _held_out_errors(
    ridge: Ridge, turned: Array, n_repeat: int, gram: Array, out: NDArray[np.bool_]
) -> tuple[float, Array]:
    """Squared length of the held-out targets, and the squared error for each of STRENGTHS.

    With eigenvectors V, damping d and the held-out rows T in their terms, predictions are
    `T·diag(d)·Vᵀ·targets`. Their error is a square form in d, so a strength costs next to nothing.
    """
    total = n_repeat * float(np.diag(gram)[out].sum())
    vectors = per_clip(ridge.vectors.T, n_repeat)
    of_clips = turned.reshape(n_repeat, -1, turned.shape[1]).sum(axis=0)
    linear = ((vectors @ gram[np.ix_(~out, out)]) * of_clips.T).sum(axis=1)
    square = (turned.T @ turned) * (vectors @ gram[np.ix_(~out, ~out)] @ vectors.T)
    dampings = [ridge.damping(strength) for strength in STRENGTHS]
    return total, np.array([total - 2 * d @ linear + d @ square @ d for d in dampings])


def per_clip(weights: Array, n_repeat: int) -> Array:
    """Weights of rows `[b, R·n]` as weights of clips `[b, n]`: repeats have the same target."""
    summed: Array = weights.reshape(len(weights), n_repeat, -1).sum(axis=1)
    return summed


def kernel_of(rows: NDArray[np.float32], others: NDArray[np.float32] | None = None) -> Array:
    """Inner products `[n, m]` of rows `[n, p]` and others `[m, p]` (default: the rows)."""
    return np.asarray(rows @ (rows if others is None else others).T, dtype=np.float64)
