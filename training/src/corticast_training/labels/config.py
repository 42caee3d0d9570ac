"""The prompts for the models and the categories that matter: `presets/labels.toml` as types.

Prompts and lists are data, so that another movie or model needs another file, not another program.
Every answer stores the version of its prompts: if one data set mixed labels of two versions,
nobody could explain their differences later.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Self

from corticast_training.data.typed import Fields
from corticast_training.errors import TrainingError
from corticast_training.labels.classes import CLASSES, INDEX

FORMATS = ("json_object", "")


@dataclass(frozen=True)
class Request:
    """Time-outs and retries of an endpoint."""

    timeout_s: float
    """For one whole answer."""
    attempts: int
    backoff_s: float
    """Before the second attempt; doubled before each next."""


@dataclass(frozen=True)
class Describe:
    """The prompts, and the form of an answer."""

    frames: int
    attempts: int
    max_tags: int
    answer_tokens: int
    temperature: float
    response_format: str
    system: str
    user: str
    again: str

    def question(self, n_frame: int) -> str:
        """The user's prompt for a clip."""
        return self.user.format(n_frame=n_frame, max_tags=self.max_tags, classes=", ".join(CLASSES))


@dataclass(frozen=True)
class Segment:
    """Settings of CLIPSeg."""

    prompt: str
    threshold: float


@dataclass(frozen=True)
class Categories:
    """Tags by their own name or by their class."""

    tags: frozenset[str]
    classes: frozenset[str]

    def hold(self, tag: str, class_: str) -> bool:
        """Whether the tag, or its class, is listed."""
        return tag in self.tags or class_ in self.classes


@dataclass(frozen=True)
class KeyObject:
    """Which categories can be a key object, and how they compare."""

    priority_weight: float
    max_area: float
    """Fraction of a frame."""
    background: Categories
    priority: Categories


@dataclass(frozen=True)
class LabelsConfig:
    """All of `presets/labels.toml`."""

    version: int
    request: Request
    describe: Describe
    segment: Segment
    key_object: KeyObject
    class_of: dict[str, str]
    """Class of a tag, whatever the model said."""

    @property
    def prompts(self) -> str:
        """Version and hash of the prompts: two answers are comparable only if these are the same.

        The hash leaves out `class_of`, which also applies to existing answers.
        """
        text = json.dumps(asdict(self.describe), sort_keys=True)
        return f"{self.version}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Reads the preset, then the changes in `path`. Raises `TrainingError`."""
        preset = resources.files("corticast_training") / "presets" / "labels.toml"
        tables = tomllib.loads(preset.read_text(encoding="utf-8"))
        if path is None:
            return cls._from_tables(tables, "presets/labels.toml")
        if not path.is_file():
            raise TrainingError(f"{path}: missing, expected a file like presets/labels.toml")
        try:
            changes = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TrainingError(f"{path}: not TOML: {error}") from error
        return cls._from_tables(_changed(tables, changes, str(path)), str(path))

    @classmethod
    def _from_tables(cls, tables: Mapping[str, Any], where: str) -> Self:
        top = Fields(tables, where)
        request = Fields(top.table("request"), f"{where}: request")
        describe = Fields(top.table("describe"), f"{where}: describe")
        segment = Fields(top.table("segment"), f"{where}: segment")
        key_object = Fields(top.table("key_object"), f"{where}: key_object")
        config = cls(
            version=top.count("version"),
            request=Request(
                timeout_s=request.positive("timeout_s"),
                attempts=request.count("attempts"),
                backoff_s=request.positive("backoff_s"),
            ),
            describe=Describe(
                frames=describe.count("frames"),
                attempts=describe.count("attempts"),
                max_tags=describe.count("max_tags"),
                answer_tokens=describe.count("answer_tokens"),
                temperature=describe.number("temperature"),
                response_format=tables["describe"]["response_format"],
                system=describe.text("system"),
                user=describe.text("user"),
                again=describe.text("again"),
            ),
            segment=Segment(prompt=segment.text("prompt"), threshold=segment.positive("threshold")),
            key_object=KeyObject(
                priority_weight=key_object.positive("priority_weight"),
                max_area=key_object.positive("max_area"),
                background=_categories(key_object, "background", where),
                priority=_categories(key_object, "priority", where),
            ),
            class_of={normal(tag): class_ for tag, class_ in top.table("class_of").items()},
        )
        config._check(where)
        return config

    def _check(self, where: str) -> None:
        if self.describe.response_format not in FORMATS:
            raise TrainingError(
                f"{where}: describe.response_format is {self.describe.response_format!r}, "
                'expected "json_object" or ""'
            )
        for tag, class_ in self.class_of.items():
            if class_ not in INDEX:
                raise TrainingError(
                    f"{where}: class_of.{tag} is {class_!r}, expected one of the 51 classes"
                )
        try:
            self.describe.question(1)
            self.describe.again.format(reason="")
        except (KeyError, IndexError, ValueError) as error:
            raise TrainingError(
                f"{where}: a prompt of describe has a brace that cannot be filled in ({error}), "
                "expected {{ and }} for braces that stay"
            ) from error
        if "{tag}" not in self.segment.prompt:
            raise TrainingError(
                f"{where}: segment.prompt is {self.segment.prompt!r}, expected {{tag}} in it"
            )


def normal(tag: str) -> str:
    """A tag in the form for comparison: lower case, single spaces."""
    return " ".join(tag.lower().split())


def _categories(fields: Fields, key: str, where: str) -> Categories:
    lists = Fields(fields.table(key), f"{where}: key_object.{key}")
    classes = lists.texts("classes")
    if unknown := [name for name in classes if name not in INDEX]:
        raise TrainingError(
            f"{where}: key_object.{key}.classes has {unknown[0]!r}, expected names of the 51"
        )
    return Categories(frozenset(map(normal, lists.texts("tags"))), frozenset(classes))


def _changed(tables: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`tables` with the leaves of `changes`; `class_of` alone takes new keys."""
    result = dict(tables)
    for key, value in changes.items():
        if key not in tables:
            raise TrainingError(f"{where}: `{key}` is unknown, expected {', '.join(tables)}")
        if not isinstance(tables[key], Mapping):
            result[key] = value
        elif not isinstance(value, Mapping):
            raise TrainingError(f"{where}: {key} is {value!r}, expected a table")
        elif key == "class_of":
            result[key] = {**tables[key], **value}
        else:
            result[key] = _changed(tables[key], value, f"{where}: {key}")
    return result
