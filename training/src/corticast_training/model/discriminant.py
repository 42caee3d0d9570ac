r"""Linear discriminant analysis with a shrunken covariance.

Classes share the covariance of their windows and differ in their mean, so the log-odds of two
classes are linear in the window. With more voxels than windows the covariance has to be shrunk
towards a simple one; how much, Ledoit and Wolf (2004, J. Multivar. Anal. 88:365) estimate from the
windows themselves, so nothing has to be tried out. As in scikit-learn's
`LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")` the windows of each class are shrunk
on their own, after each voxel got variance 1 within the class:

    Σ = Σ_k π_k D_k [(1 − s_k) C_k + s_k I] D_k

with the share π_k of class k, its correlations C_k and the standard deviations D_k of its voxels.
This is a diagonal plus one term a window, so all systems are solved in the space of windows
(Woodbury identity): time and memory grow with voxels × windows, not with voxels².
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Voxels without variance get this fraction of the mean variance: their weight is 0, not NaN.
LEAST_VARIANCE = 1e-9


@dataclass(frozen=True)
class Discriminant:
    """`windows · weights + bias` are log-probabilities of the classes, up to a common constant."""

    weights: Array
    """Shape `[n_feature, n_class]`."""
    bias: Array
    """Shape `[n_class]`."""
    shrinkage: float
    """Mean of the classes' `s_k`, weighted by their windows."""


def discriminant(windows: Array, label: NDArray[np.int64], n_class: int) -> Discriminant:
    """Fits `windows` `[n, n_feature]` with `label` `[n]`; every class has at least one window."""
    n, n_feature = windows.shape
    share = np.bincount(label, minlength=n_class) / n
    means = np.stack([windows[label == k].mean(axis=0) for k in range(n_class)])
    diagonal, rows, shrinkages = np.zeros(n_feature), np.empty_like(windows), np.zeros(n_class)
    for k in range(n_class):
        centred = windows[label == k] - means[k]
        variance = (centred**2).mean(axis=0)
        scaled = np.divide(
            centred, np.sqrt(variance), out=np.zeros_like(centred), where=variance > 0
        )
        shrinkages[k] = ledoit_wolf(scaled)
        diagonal += share[k] * shrinkages[k] * variance
        rows[label == k] = np.sqrt(share[k] * (1 - shrinkages[k]) / len(centred)) * centred
    diagonal = np.maximum(diagonal, LEAST_VARIANCE * max(float(diagonal.mean()), LEAST_VARIANCE))

    # (D + R'R)⁻¹ M = D⁻¹M − D⁻¹R' (I + R D⁻¹ R')⁻¹ R D⁻¹ M
    by_diagonal = means.T / diagonal[:, None]
    inner = np.eye(n) + (rows / diagonal) @ rows.T
    weights = by_diagonal - (rows / diagonal).T @ np.linalg.solve(inner, rows @ by_diagonal)
    bias = -0.5 * np.einsum("kv,vk->k", means, weights) + np.log(share)
    return Discriminant(weights=weights, bias=bias, shrinkage=float(share @ shrinkages))


def ledoit_wolf(centred: Array) -> float:
    """How far the covariance of `centred` `[n, n_feature]` is shrunk to a multiple of the identity.

    Equation 10 to 14 of Ledoit and Wolf (2004), with sums over pairs of windows in place of sums
    over pairs of voxels.
    """
    n, n_feature = centred.shape
    of_window = (centred**2).sum(axis=1)
    mean_variance = of_window.sum() / (n * n_feature)
    squared = ((centred @ centred.T) ** 2).sum() / n**2
    spread = (squared - n_feature * mean_variance**2) / n_feature
    error = ((of_window**2).sum() / n - squared) / (n * n_feature)
    return float(min(error, spread) / spread) if spread > 0 else 0.0
