r"""The linear decoder: class probabilities as a softmax of a weighted sum of voxels.

There are three ways to fit the weights:

- `ridge`: one-vs-rest regression on ±1 targets, as scikit-learn's `RidgeClassifier`. Its
  decision values are not probabilities; `softmax(T · decision)` turns them into probabilities,
  where the temperature `T` minimises the cross-validated log-loss. The ranking within a volume
  does not depend on `T`.
- `logistic`: multinomial logistic regression; its probabilities need no temperature.
- `lda`: linear discriminant analysis with a covariance that is shrunk by as much as the windows
  themselves tell. Its probabilities are too sure, because neighbouring volumes are alike, so they
  get a temperature too.

Where evidence is added up over time, the log-loss is that of the added-up probabilities, of the
windows in blocks. The regularisation minimises the cross-validated log-loss, because the
probabilities themselves are the feedback. A decoder that is only slightly regularised is much worse
here, because voxels are many and similar: on Haxby's slice, α = 1 reaches .33 per TR and α = 316
reaches .54.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from corticast_training.errors import TrainingError
from corticast_training.labels.dataset import Folds, LabelledWindows
from corticast_training.model.discriminant import Discriminant, discriminant
from corticast_training.model.evidence import add_up
from corticast_training.progress import progress

Array = NDArray[np.float64]

# Wide enough for a handful of voxels and for a whole brain of z-scores; half a decade apart.
RIDGE_ALPHA = np.logspace(-1, 7, 17)
LOGISTIC_C = np.logspace(-6, 1, 8)
TEMPERATURE = np.geomspace(0.25, 256, 61)
LDA_TEMPERATURE = np.geomspace(1 / 256, 4, 31)
# The temperatures of methods whose log-loss is smallest at 1, where evidence is added up.
EVIDENCE_TEMPERATURE = np.geomspace(1 / 16, 4, 19)


@dataclass(frozen=True)
class LinearDecoder:
    """`softmax(windows · weights + bias)`."""

    weights: NDArray[np.float32]
    """Shape `[window_volumes * n_voxel, n_class]`."""
    bias: NDArray[np.float32]
    """Shape `[n_class]`."""

    def probabilities(self, windows: NDArray[np.float32]) -> Array:
        """Shape `[n, n_class]` for windows of shape `[n, window_volumes * n_voxel]`."""
        return softmax(windows.astype(np.float64) @ self.weights + self.bias)


@dataclass(frozen=True)
class Fit:
    """A decoder fitted to all windows, and its cross-validated accuracy."""

    decoder: LinearDecoder
    method: str
    regularisation: float
    """α of ridge, C of logistic, mean shrinkage of lda."""
    temperature: float
    at_edge: bool
    """Whether the regularisation is the smallest or largest that was tried."""
    held_out: Array
    """Probabilities of each window by a decoder that never saw its fold, `[n, n_class]`; from all
    windows of its run so far where evidence is added up."""


def softmax(logits: Array) -> Array:
    """Softmax over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    normalised: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return normalised


def fit_linear(labelled: LabelledWindows, folds: Folds, method: str) -> Fit:
    """Chooses regularisation and temperature by cross-validation, then fits all windows.

    Raises `TrainingError` if no regularisation gives finite decisions.
    """
    held_out_of: Callable[[LabelledWindows, Folds], Array]
    if labelled.evidence is not None and folds.by != "run":
        raise TrainingError(
            f"folds are by {folds.by}, expected two runs or more to add up evidence: it needs all "
            "windows of a run in order"
        )
    if method == "ridge":
        held_out_of, grid, temperatures = _ridge_held_out, RIDGE_ALPHA, TEMPERATURE
    elif method == "lda":
        held_out_of, grid, temperatures = _lda_held_out, np.full(1, np.nan), LDA_TEMPERATURE
    else:
        held_out_of, grid = _logistic_held_out, LOGISTIC_C
        temperatures = np.ones(1) if labelled.evidence is None else EVIDENCE_TEMPERATURE
    logits = held_out_of(labelled, folds)
    if not np.isfinite(logits).all():
        raise TrainingError("cross-validation gave NaN or Inf, expected finite decisions")

    losses = np.array([_losses(labelled, values, temperatures) for values in logits])
    best, hottest = np.unravel_index(int(losses.argmin()), losses.shape)
    temperature, regularisation = float(temperatures[hottest]), float(grid[best])
    if method == "lda":
        fitted = _lda(labelled, np.full(len(labelled.label), True))
        weights, bias, regularisation = fitted.weights, fitted.bias, fitted.shrinkage
    else:
        weights, bias = _fit_all(labelled, method, regularisation)
    return Fit(
        decoder=LinearDecoder(
            weights=(temperature * weights).astype(np.float32),
            bias=(temperature * bias).astype(np.float32),
        ),
        method=method,
        regularisation=regularisation,
        temperature=temperature,
        at_edge=len(grid) > 1 and best in (0, len(grid) - 1),
        held_out=_answers(labelled, softmax(temperature * logits[best])),
    )


def _answers(labelled: LabelledWindows, probabilities: Array) -> Array:
    """What the daemon makes of the probabilities `[..., n, n_class]` of single windows."""
    if labelled.evidence is None:
        return probabilities
    return add_up(probabilities, labelled.stimulus_time_s, labelled.run, labelled.evidence)


def _losses(labelled: LabelledWindows, logits: Array, temperatures: Array) -> Array:
    """Log-loss of logits `[n, n_class]` at each temperature."""
    if labelled.evidence is None:
        return np.array([_log_loss(t * logits, labelled.label) for t in temperatures])
    added = _answers(labelled, softmax(temperatures[:, None, None] * logits))
    shown = labelled.shown
    of_true = added[:, shown, labelled.label[shown]]
    losses: Array = -np.log(np.maximum(of_true, np.finfo(np.float64).tiny)).mean(axis=1)
    return losses


def _log_loss(logits: Array, label: NDArray[np.int64]) -> float:
    top = logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    return float((log_sum - logits[np.arange(len(label)), label]).mean())


def _lda_held_out(labelled: LabelledWindows, folds: Folds) -> Array:
    """Logits of held-out windows. Shape `[1, n, n_class]`."""
    logits = np.zeros((1, len(labelled.label), len(labelled.classes)))
    for out in progress(folds.held_out, len(folds.held_out), "cross-validating"):
        _refuse_absent(labelled, folds, out, "discriminant analysis")
        fitted = _lda(labelled, ~out)
        logits[0, out] = labelled.windows[out] @ fitted.weights + fitted.bias
    return logits


def _lda(labelled: LabelledWindows, used: NDArray[np.bool_]) -> Discriminant:
    windows = labelled.windows[used].astype(np.float64)
    return discriminant(windows, labelled.label[used], len(labelled.classes))


def _refuse_absent(
    labelled: LabelledWindows, folds: Folds, out: NDArray[np.bool_], method: str
) -> None:
    absent = set(range(len(labelled.classes))) - set(labelled.label[~out].tolist())
    if absent:
        name = labelled.classes[min(absent)]
        raise TrainingError(
            f"class {name!r} is in one {folds.by} only, expected two or more "
            f"for {method}; ridge can do without"
        )


def _ridge_held_out(labelled: LabelledWindows, folds: Folds) -> Array:
    """Decisions of held-out windows for each α. Shape `[n_alpha, n, n_class]`.

    Solved in the space of windows, because there are fewer windows than voxels. One
    eigendecomposition per fold serves every α. Equal to `RidgeClassifier` with an intercept.
    """
    X = labelled.windows.astype(np.float64)
    gram = X @ X.T
    targets = _one_vs_rest(labelled)
    decisions = np.zeros((len(RIDGE_ALPHA), *targets.shape))
    for out in progress(folds.held_out, len(folds.held_out), "cross-validating"):
        # Centred on the mean of the training windows, without ever forming them.
        kernel, across = gram[np.ix_(~out, ~out)], gram[np.ix_(out, ~out)]
        of_train = kernel.mean(axis=0)
        across = across - across.mean(axis=1, keepdims=True) - of_train + of_train.mean()
        kernel = kernel - of_train - of_train[:, None] + of_train.mean()
        values, vectors = np.linalg.eigh(kernel)
        values = values.clip(min=0)
        mean = targets[~out].mean(axis=0)
        projected = vectors.T @ (targets[~out] - mean)
        across = across @ vectors
        for k, alpha in enumerate(RIDGE_ALPHA):
            decisions[k, out] = (across / (values + alpha)) @ projected + mean
    return decisions


def _logistic_held_out(labelled: LabelledWindows, folds: Folds) -> Array:
    """Logits of held-out windows for each C. Shape `[n_c, n, n_class]`."""
    logits = np.zeros((len(LOGISTIC_C), len(labelled.label), len(labelled.classes)))
    fits = [(k, out) for out in folds.held_out for k in range(len(LOGISTIC_C))]
    for k, out in progress(fits, len(fits), "cross-validating"):
        _refuse_absent(labelled, folds, out, "logistic regression")
        weights, bias = _logistic(labelled.windows[~out], labelled.label[~out], LOGISTIC_C[k])
        logits[k, out] = labelled.windows[out] @ weights + bias
    return logits


def _fit_all(labelled: LabelledWindows, method: str, regularisation: float) -> tuple[Array, Array]:
    if method == "logistic":
        return _logistic(labelled.windows, labelled.label, regularisation)
    ridge = RidgeClassifier(alpha=regularisation)
    ridge.fit(labelled.windows.astype(np.float64), labelled.label)
    return _per_class(ridge.coef_, ridge.intercept_, scale=1.0)


def _logistic(X: NDArray[np.float32], label: NDArray[np.int64], c: float) -> tuple[Array, Array]:
    logistic = LogisticRegression(C=c, max_iter=2000)
    logistic.fit(X.astype(np.float64), label)
    # Two classes share one logit d: softmax of (-d/2, d/2) is its sigmoid.
    return _per_class(logistic.coef_, logistic.intercept_, scale=0.5)


def _per_class(coef: Array, intercept: Array, scale: float) -> tuple[Array, Array]:
    """Weights `[n_feature, n_class]`; scikit-learn keeps one row for two classes."""
    coef, intercept = np.atleast_2d(coef), np.atleast_1d(intercept)
    if len(coef) == 1:
        coef = scale * np.concatenate([-coef, coef])
        intercept = scale * np.concatenate([-intercept, intercept])
    return coef.T, intercept


def _one_vs_rest(labelled: LabelledWindows) -> Array:
    is_class = labelled.label[:, None] == np.arange(len(labelled.classes))
    return np.where(is_class, 1.0, -1.0)
