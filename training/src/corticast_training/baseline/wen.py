"""`wen-like`: linear regression from BOLD to CLIP tokens, and the nearest training clip.

After Wen et al. 2018, Cereb. Cortex 28:4136: features of the frames are linear in BOLD. Ridge
predicts the tokens of the frame that stands for its clip, a second ridge the 51 labels. The
training clip whose tokens correlate best with the predicted ones gives caption, frames and mask.

Every training repeat is a sample of its own, so that the strength is right for BOLD that was
measured once, as it is live.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corticast_training.baseline.answer import Answer
from corticast_training.baseline.library import Library
from corticast_training.baseline.ridge import (
    Array,
    Choice,
    Ridge,
    choose_strengths,
    kernel_of,
    per_clip,
)

DIFFERENCE = (
    "ridge to the CLIP image tokens of one frame a clip instead of AlexNet's features of all "
    "frames, fitted to single repeats instead of their mean; pictures are those of the training "
    "clip with the most similar tokens instead of a de-convolution's; concepts by a ridge to "
    "the 51 labels; caption and mask of the training clip"
)


@dataclass(frozen=True)
class WenLike:
    """The fitted decoder. n counts the library's clips."""

    windows: NDArray[np.float32]
    """Training windows `[R·n, D]`, repeat after repeat."""
    n_repeat: int
    ridge: Ridge
    library: Library
    gram: Array
    """Inner products of the clips' tokens about their mean, `[n, n]`."""
    labels: Array
    choices: dict[str, Choice]
    """Of `tokens` and of `concepts`."""

    @classmethod
    def fit(
        cls, windows: NDArray[np.float32], library: Library, folds: list[NDArray[np.bool_]]
    ) -> "WenLike":
        """Fits to windows `[R, n, D]` of the library's clips."""
        n_repeat = len(windows)
        rows = windows.reshape(-1, windows.shape[2])
        kernel, labels, gram = kernel_of(rows), library.labels, library.token_gram()
        choices = choose_strengths(
            kernel, n_repeat, folds, {"tokens": gram, "concepts": labels @ labels.T}
        )
        ridge = Ridge(kernel, "training windows")
        return cls(rows, n_repeat, ridge, library, gram, labels, choices)

    def decode(self, windows: NDArray[np.float32]) -> list[Answer]:
        """Answers to windows `[b, D]`."""
        across = kernel_of(windows, self.windows)
        strengths = [self.choices[name].strength for name in ("tokens", "concepts")]
        to_tokens, to_labels = (
            per_clip(weights, self.n_repeat) for weights in self.ridge.weights(across, strengths)
        )
        tokens = self.library.token_sum(to_tokens)
        concepts = (to_labels @ self.labels).clip(0, 1)
        # The predicted tokens' own length is the same for every clip that they are held against.
        length = np.sqrt(np.diag(self.gram).clip(min=1e-12))
        nearest = ((to_tokens @ self.gram) / length).argmax(axis=1)
        return [
            Answer(
                tokens=tokens[k],
                concepts=concepts[k],
                caption=self.library.caption(row),
                mask=self.library.masks(row),
                frames=self.library.frames(row),
            )
            for k, row in enumerate(nearest.tolist())
        ]

    def facts(self) -> dict[str, float]:
        """What was chosen, for `baseline.toml`. Rounded: the last digits depend on the machine."""
        return {
            f"{name}_{key}": float(f"{value:.4g}")
            for name, choice in self.choices.items()
            for key, value in (("strength", choice.strength), ("explained", choice.explained))
        }
