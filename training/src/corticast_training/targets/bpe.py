"""CLIP's byte-pair encoding: text to token ids and back.

The tokenizer and its vocabulary come with open_clip. There are two layouts of a padded row:
OpenCLIP's pads with 0 (captions of the captioner, OpenCLIP's text tower), Stable Diffusion's
pads with the end token (its CLIP text encoder). They also differ in how they clean a text:
OpenCLIP repairs HTML entities and curly quotes, Stable Diffusion's does not.
"""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

START_ID = 49406
END_ID = 49407
CONTEXT = 77
"""Positions of CLIP's text towers, start and end included."""
VOCABULARY_FILE = "bpe_simple_vocab_16e6.txt.gz"


def encode(text: str) -> list[int]:
    """Ids of a text, without start and end."""
    ids: list[int] = _open_clip().encode(text)
    return ids


def decode(ids: Iterable[int]) -> str:
    """The text of ids that hold no padding; a space follows each word."""
    text: str = _open_clip().decode(list(ids))
    return text


def caption_ids(text: str, n: int = 60) -> NDArray[np.int64]:
    """One row `[n]`: start, ids, end, then zeros. A long text is cut, but keeps the end token."""
    return _row(encode(text), n, pad=0)


def read_caption(ids: Iterable[int]) -> str:
    """The text of a row: from the start token, if there is one, to the end token or padding."""
    words = []
    for token in ids:
        if token in (0, END_ID):
            break
        if token < START_ID:
            words.append(int(token))
    return decode(words).strip()


def n_ids(text: str) -> int:
    """Number of ids with start and end. If it exceeds the length of a row, the text is cut."""
    return len(encode(text)) + 2


def sd15_ids(text: str, n: int = CONTEXT) -> NDArray[np.int64]:
    """One row `[n]` as Stable Diffusion 1.5's text encoder is fed: padded with the end token."""
    ids: list[int] = _hugging_face()(text, add_special_tokens=False).input_ids
    return _row(ids, n, pad=END_ID)


def vocabulary_file() -> Path:
    """The gzipped list of merges, as shipped with open_clip."""
    from open_clip.tokenizer import default_bpe

    return Path(default_bpe())


def _row(ids: Sequence[int], n: int, pad: int) -> NDArray[np.int64]:
    row = np.full(n, pad, dtype=np.int64)
    kept = [START_ID, *ids[: n - 2], END_ID]
    row[: len(kept)] = kept
    return row


@functools.cache
def _open_clip() -> Any:
    # open_clip imports torch, which takes seconds, so only callers that need ids import it.
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


@functools.cache
def _hugging_face() -> Any:
    from transformers import CLIPTokenizer

    ours = _open_clip()
    ends = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {ends.get(token, token): index for token, index in ours.encoder.items()}
    merges = sorted(ours.bpe_ranks, key=ours.bpe_ranks.get)
    return CLIPTokenizer(vocab=vocabulary, merges=merges)
