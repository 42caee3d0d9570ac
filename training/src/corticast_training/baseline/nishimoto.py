"""`nishimoto-like`: motion energy predicts BOLD, and the most probable clips are averaged.

After Nishimoto et al. 2011, Curr. Biol. 21:1641. An encoding model says what BOLD a clip would
cause. Given a window r, the posterior of clip s of a library is, with a flat prior over it,

```text
log p(s | r) = const - ½ (r - r̂ₛ)ᵀ Σ⁻¹ (r - r̂ₛ)
```

with Σ the covariance of the residuals of single trials. The clips of highest posterior are
averaged, which gives tokens, frames and the share that shows each class; the first of them
gives caption and mask.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corticast_training.baseline.answer import Answer
from corticast_training.baseline.encoding import Encoding, fit_encoding
from corticast_training.baseline.library import Library
from corticast_training.baseline.motion_energy import motion_energy
from corticast_training.baseline.ridge import Array

DIFFERENCE = (
    "the library is the training clips (predicted by models that never saw their BOLD) instead of "
    "18 million seconds of other videos; motion energy of the few frames that the data set has of "
    "a clip instead of 15 a second, up to 2 cycles a clip; regularised by ridge instead of L1; "
    "one fixed delay, that of the windows; frames are averaged at 64 px; concepts are the share "
    "of the averaged clips that shows a class; caption and mask are the most probable clip's"
)
MAX_AVERAGED = 100
"""As many as Nishimoto et al. averaged, of a far larger library."""
SHARE_AVERAGED = 0.05


@dataclass(frozen=True)
class NishimotoLike:
    """The fitted encoding model and its library of n clips."""

    encoding: Encoding
    library: Library
    frames: NDArray[np.uint8]
    """`[n, F, 64, 64, 3]`"""
    labels: Array
    n_averaged: int

    @classmethod
    def fit(
        cls,
        windows: NDArray[np.float32],
        library: Library,
        folds: list[NDArray[np.bool_]],
        n_averaged: int | None = None,
    ) -> "NishimotoLike":
        """Fits to windows `[R, n, D]` of the library's clips.

        `n_averaged` None averages a twentieth of the library, at most 100.
        """
        n = len(library)
        energies = motion_energy(library.movie.frames("train"))[library.clip]
        return cls(
            encoding=fit_encoding(energies, windows, folds),
            library=library,
            frames=library.small_frames(),
            labels=library.labels,
            n_averaged=min(n, n_averaged or max(1, min(MAX_AVERAGED, round(SHARE_AVERAGED * n)))),
        )

    def decode(self, windows: NDArray[np.float32]) -> list[Answer]:
        """Answers to windows `[b, D]`."""
        best = np.argsort(-self.log_posterior(windows), axis=1, kind="stable")
        best = best[:, : self.n_averaged]
        weights = np.zeros((len(windows), len(self.library)))
        np.put_along_axis(weights, best, 1 / self.n_averaged, axis=1)
        tokens, concepts = self.library.token_sum(weights), weights @ self.labels
        return [
            Answer(
                tokens=tokens[k],
                concepts=concepts[k],
                caption=self.library.caption(int(rows[0])),
                mask=self.library.masks(int(rows[0])),
                frames=self.frames[rows].mean(axis=0).round().astype(np.uint8),
            )
            for k, rows in enumerate(best)
        ]

    def log_posterior(self, windows: NDArray[np.float32]) -> Array:
        """Of each clip of the library `[b, n]`, up to a constant of each window."""
        own = self.encoding
        measured = windows[:, own.voxels].astype(np.float64) @ own.whitening
        expected = own.predicted @ own.whitening
        length = (expected**2).sum(axis=1)
        return np.asarray(measured @ expected.T - length / 2)

    def facts(self) -> dict[str, float]:
        """What was fitted, for `baseline.toml`. Rounded: last digits depend on the machine."""
        return {
            "n_voxel": len(self.encoding.voxels),
            "voxel_correlation_median": float(f"{np.median(self.encoding.correlation):.4g}"),
            "n_averaged": self.n_averaged,
        }
