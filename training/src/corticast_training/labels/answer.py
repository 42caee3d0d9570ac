"""A model's answer to "describe this clip", checked before a training uses it.

Models surround JSON with fences and reasoning, so this module searches the text for the object. It
does not repair the object: it refuses an answer of the wrong form, and the model gets the reason.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corticast_training.errors import TrainingError
from corticast_training.labels.classes import CLASSES, INDEX
from corticast_training.labels.config import normal
from corticast_training.labels.endpoint import BadAnswerError

MAX_TAG_WORDS = 5
_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """Caption and tags of a clip."""

    caption: str
    tags: dict[str, str]
    """Class of each tag, in the order of the answer: the most important first."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of all tags, in index order."""
        return tuple(sorted(set(self.tags.values()), key=INDEX.__getitem__))


def read_answer(text: str, class_of: Mapping[str, str], max_tags: int) -> Answer:
    """Finds and checks the object. Raises `BadAnswerError` with a reason that helps the model."""
    return check_answer(_object_in(_THOUGHTS.sub("", text)), class_of, max_tags)


def check_answer(table: Mapping[str, Any], class_of: Mapping[str, str], max_tags: int) -> Answer:
    """Checks caption and tags; `class_of` overrules the class that a tag comes with."""
    caption, tags = table.get("caption"), table.get("tags")
    if not isinstance(caption, str) or not caption.strip():
        raise BadAnswerError('"caption" is missing or empty')
    if not isinstance(tags, list) or not tags:
        raise BadAnswerError('"tags" is missing, empty or not a list')
    if len(tags) > max_tags:
        raise BadAnswerError(f'"tags" has {len(tags)} entries, at most {max_tags} are allowed')
    return Answer(" ".join(caption.split()), dict(_tag(entry, class_of) for entry in tags))


def message_of(reply: Any) -> str:
    """The text of a chat completion. Raises `BadAnswerError` if there is none."""
    try:
        choice = reply["choices"][0]
        text = choice["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise BadAnswerError("the reply holds no message") from error
    if not isinstance(text, str) or not text.strip():
        raise BadAnswerError("the message is empty")
    if choice.get("finish_reason") == "length":
        raise BadAnswerError("the message is longer than the tokens it may have")
    return text


def classes_of_tags(tags: tuple[str, ...], class_of: Mapping[str, str]) -> dict[str, str]:
    """Classes of tags that came without an answer. Raises `TrainingError` for unknown ones."""
    known = {normal(tag): class_of.get(normal(tag)) for tag in tags}
    if unknown := [tag for tag, class_ in known.items() if class_ is None]:
        raise TrainingError(
            f"tag {unknown[0]!r} has no class, expected an answer of `labels describe`, or the tag "
            "in [class_of] of a --config file"
        )
    return {tag: class_ for tag, class_ in known.items() if class_ is not None}


def _tag(entry: Any, class_of: Mapping[str, str]) -> tuple[str, str]:
    tag = entry.get("tag") if isinstance(entry, Mapping) else None
    if not isinstance(tag, str) or not 1 <= len(tag.split()) <= MAX_TAG_WORDS:
        raise BadAnswerError(
            f'tag {json.dumps(entry)[:80]} is not an object with a "tag" of one to three words'
        )
    tag = normal(tag)
    said = entry.get("class")
    class_ = class_of.get(tag) or (_CLASSES.get(normal(said)) if isinstance(said, str) else None)
    if class_ is None:
        raise BadAnswerError(
            f'the class of "{tag}" is {json.dumps(said)[:60]}, not one of the list'
        )
    return tag, class_


_CLASSES = {normal(name): name for name in CLASSES}


def _object_in(text: str) -> Mapping[str, Any]:
    """The first JSON object in a text that has a caption or tags."""
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        try:
            found, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, Mapping) and {"caption", "tags"} & found.keys():
            return found
        start = text.find("{", start + 1)
    raise BadAnswerError(f"it holds no JSON object with caption and tags: {text.strip()[:80]!r}")
