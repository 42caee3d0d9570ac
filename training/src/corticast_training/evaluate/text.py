"""Similarity of captions: corpus BLEU-1..4 and CIDEr-D, as pycocoevalcap counts them.

Captions are put in lower case and split at every character that is not a letter or digit; the
COCO tools call a Java tokeniser for this. BLEU is computed from counts per caption, so that
captions can be resampled; on the whole corpus it equals pycocoevalcap's number.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test
from pycocoevalcap.cider.cider import Cider

N_GRAM = 4
# pycocoevalcap's guards against a division by zero.
_TINY, _SMALL = 1e-15, 1e-9


def tokenise(caption: str) -> str:
    """Lower-case words, separated by one space."""
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)?", caption.lower()))


def bleu_counts(candidate: str, references: Sequence[str]) -> NDArray[np.float64]:
    """Counts that BLEU needs from one tokenised caption.

    Returns `[10]`: matching n-grams for n = 1..4, n-grams for n = 1..4, words of the candidate,
    words of the reference that is closest in length.
    """
    counts = cook_test(candidate, cook_refs(references), eff="closest")
    return np.array(
        [*counts["correct"], *counts["guess"], counts["testlen"], counts["reflen"]], dtype=float
    )


def bleu(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU-1..4 of counts summed over a corpus, `[..., 10]` → `[..., 4]`.

    Papineni et al. 2002, unsmoothed.
    """
    matching, n_gram = totals[..., :N_GRAM], totals[..., N_GRAM : 2 * N_GRAM]
    precision = (matching + _TINY) / (n_gram + _SMALL)
    scores = np.cumprod(precision, axis=-1) ** (1 / np.arange(1, N_GRAM + 1))
    length = (totals[..., -2] + _TINY) / (totals[..., -1] + _SMALL)
    return np.asarray(scores * np.exp(np.minimum(0.0, 1 - 1 / length))[..., None])


def cider_d(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """CIDEr-D of each tokenised caption, 0 to 10, `[n]`; rarity is counted over references."""
    found = {position: [caption] for position, caption in enumerate(candidates)}
    true = {position: list(captions) for position, captions in enumerate(references)}
    if not any(caption for captions in references for caption in captions):
        return np.zeros(len(candidates))
    _, each = Cider().compute_score(true, found)
    return np.asarray(each, dtype=float)
