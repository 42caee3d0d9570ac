"""Verb accuracy: whether the decoded caption names the action, in the same or similar words.

Verbs are found by NLTK's averaged perceptron tagger. A verb of the decoded caption counts when
the cosine similarity of its word vector to that of a verb of the true caption exceeds 0.8.
Both models are read from local files; nothing is downloaded.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nltk.tag.perceptron import PerceptronTagger
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from corticast_training.errors import TrainingError
from corticast_training.evaluate.text import tokenise

SIMILAR = 0.8
TAGGER = "averaged_perceptron_tagger_eng"

Vectors = Mapping[str, NDArray[np.float32]]
"""Unit vectors by word."""


class VerbFinder:
    """NLTK's tagger for English."""

    def __init__(self, folder: Path) -> None:
        """Reads the tagger below an `nltk_data` folder (or from its own folder)."""
        places = [folder / "taggers" / TAGGER, folder / TAGGER, folder]
        home = next((place for place in places if (place / f"{TAGGER}.weights.json").is_file()), "")
        if not home:
            raise TrainingError(
                f"{folder}: expected an nltk_data folder with taggers/{TAGGER}/{TAGGER}.*.json"
            )
        parts = [
            _json(Path(home) / f"{TAGGER}.{n}.json") for n in ("weights", "tagdict", "classes")
        ]
        self._tagger = PerceptronTagger(load=False)
        try:
            self._tagger.decode_json_params(parts)
        except (TypeError, ValueError, AttributeError) as error:
            raise TrainingError(f"{home}: not a perceptron tagger of NLTK: {error}") from error

    def verbs(self, caption: str) -> list[str]:
        """Words tagged as any form of a verb, in order."""
        words = tokenise(caption).split()
        return [word for word, tag in self._tagger.tag(words) if tag.startswith("VB")]


def verb_hits(found: Sequence[str], true: Sequence[str], vectors: Vectors) -> tuple[int, int]:
    """How many decoded verbs are near a true verb, and how many decoded verbs there are.

    A verb without a vector is near only itself.
    """
    return sum(any(_near(verb, other, vectors) for other in true) for verb in found), len(found)


def _near(left: str, right: str, vectors: Vectors) -> bool:
    if left == right:
        return True
    if left not in vectors or right not in vectors:
        return False
    return bool(vectors[left] @ vectors[right] > SIMILAR)


def read_vectors(path: Path, words: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """Reads the vectors of `words` only, as unit vectors.

    The file is text as GloVe and word2vec write it (a word and its numbers a line, word2vec with
    a first line of counts) or safetensors with `vectors` `[n, d]` and, in its metadata, `words`
    with one word a line.
    """
    if not path.is_file():
        raise TrainingError(f"{path}: expected a file with word vectors")
    wanted = set(words)
    read = _from_safetensors if path.suffix == ".safetensors" else _from_text
    vectors = read(path, wanted)
    return {word: vector / max(float(np.linalg.norm(vector)), 1e-12) for word, vector in vectors}


def _from_safetensors(path: Path, wanted: set[str]) -> list[tuple[str, NDArray[np.float32]]]:
    try:
        with safe_open(path, framework="numpy") as file:
            names = ((file.metadata() or {}).get("words") or "").split("\n")
            table = file.get_tensor("vectors") if "vectors" in file.keys() else None  # noqa: SIM118
    except SafetensorError as error:
        raise TrainingError(f"{path}: not a safetensors file: {error}") from error
    if table is None or table.ndim != 2 or len(table) != len(names):
        raise TrainingError(
            f"{path}: expected `vectors` [n, d] and metadata `words` of n lines, found "
            f"{'none' if table is None else list(table.shape)} and {len(names)}"
        )
    rows = [(name, table[row].astype(np.float32)) for row, name in enumerate(names)]
    return [row for row in rows if row[0] in wanted]


def _from_text(path: Path, wanted: set[str]) -> list[tuple[str, NDArray[np.float32]]]:
    rows: list[tuple[str, NDArray[np.float32]]] = []
    width = None
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                word, *values = line.rstrip().split(" ")
                if number == 1 and len(values) == 1:
                    continue
                width = width or len(values)
                if len(values) != width or width < 2:
                    raise TrainingError(
                        f"{path}:{number}: {len(values)} numbers, expected {width} as before"
                    )
                if word in wanted:
                    rows.append((word, np.array(values, dtype=np.float32)))
    except (UnicodeDecodeError, ValueError) as error:
        raise TrainingError(f"{path}: not text with word vectors: {error}") from error
    if width is None:
        raise TrainingError(f"{path}: empty, expected word vectors")
    return rows


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: not a file of NLTK's tagger: {error}") from error
