"""Sizes and schedules of a training, as one TOML file: a preset and the values that differ from it.

A preset is a file of `presets/`. `load` reads one by its name or a file by its path, `override`
sets single keys, and `save` writes all of it beside the weights, so that every model comes
with its configuration. Unknown keys and impossible sizes are refused here, once.
"""

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Self, TypeVar, get_type_hints

import tomli_w

from corticast_training.errors import TrainingError

T = TypeVar("T")

PRESETS = ("tiny", "small", "paper")
N_CLASS = 51
GPT2_VOCABULARY = 50257
"""Rows of the captioner's embedding: GPT-2's, though it speaks CLIP's token ids."""
STOP_ID = 49407
"""CLIP's end of text; ids above it are not CLIP's and never chosen."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of every network, in the letters of the paper."""

    hidden: int
    """H: width of the backbone, and what each subject's ridge maps to."""
    n_block: int
    """Mixer blocks of the backbone."""
    dropout: float
    """Of the mixer blocks."""
    n_token: int
    """N: image tokens of a frame, a square number."""
    channels: int
    """C: width of an image token."""
    text_dim: int
    """T: width of a text embedding."""
    n_frame: int
    """F: frames of a clip."""
    prior_depth: int
    prior_heads: int
    prior_dim_head: int
    prior_steps: int
    """Steps of the diffusion schedule."""
    decoder_channels: tuple[int, ...]
    """1x1 convolutions before the up-sampling decoder: T → these."""
    up_channels: tuple[int, ...]
    """Up blocks; up-sampled by 2 after all but the last."""
    latent: int
    """Edge of a frame's VAE latents; a frame has 8 times that many pixels."""
    caption_embd: int
    caption_layers: int
    caption_heads: int
    caption_positions: int
    """Positions of the captioner's table: GPT-2's is 1024."""
    caption_tokens: int
    """Longest caption in token ids, start and end included."""

    @property
    def grid(self) -> int:
        """Edge of the token grid: √N."""
        return math.isqrt(self.n_token)

    @property
    def mask(self) -> int:
        """Edge of a predicted mask: the grid after the up-sampling decoder."""
        return self.grid << (len(self.up_channels) - 1)

    @property
    def image(self) -> int:
        """Edge of a frame in pixels."""
        return 8 * self.latent

    def check(self) -> None:
        """Raises `TrainingError` where a size is none, or two do not fit."""
        for name, value in vars(self).items():
            if type(value) is int and value < 1:
                raise TrainingError(f"sizes.{name} is {value}, expected 1 or more")
        _check_fractions("sizes", {"dropout": self.dropout})
        if self.grid**2 != self.n_token:
            raise TrainingError(f"sizes.n_token is {self.n_token}, expected a square number")
        if self.channels < 4 or self.channels % 2:
            raise TrainingError(
                f"sizes.channels is {self.channels}, expected an even number, 4 or more: "
                "the prior's times are sines and cosines"
            )
        if self.prior_dim_head < 2 or self.prior_dim_head % 2:
            raise TrainingError(
                f"sizes.prior_dim_head is {self.prior_dim_head}, expected an even number, "
                "2 or more: the prior rotates pairs of channels"
            )
        if self.caption_embd % self.caption_heads:
            raise TrainingError(
                f"sizes.caption_embd is {self.caption_embd}, expected a multiple of "
                f"sizes.caption_heads = {self.caption_heads}"
            )
        if self.caption_tokens + 1 > self.caption_positions:
            raise TrainingError(
                f"sizes.caption_positions is {self.caption_positions}, expected more than "
                f"sizes.caption_tokens = {self.caption_tokens}: the prefix takes one"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """How one stage is trained."""

    epochs: int
    batch: int
    """Samples of one optimiser step, over all devices."""
    accumulate: int = 1
    """Parts that a batch is split into where memory is short."""
    max_learning_rate: float
    weight_decay: float = 0.01
    seed: int = 0
    precision: str = "32-true"
    """Of Lightning Fabric: 32-true, bf16-mixed or 16-mixed."""
    checkpoint_every_steps: int = 500
    patience_epochs: int = 0
    """Epochs without a better validation score before training stops; 0 never stops it."""
    validation_fraction: float = 0.1

    def check(self, where: str) -> None:
        """Raises `TrainingError` where nothing could be trained; `where` is the section."""
        for name in ("epochs", "batch", "accumulate"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{where}.{name} is {getattr(self, name)}, expected 1 or more")
        for name, value in vars(self).items():
            if "temperature" in name and not value > 0:
                raise TrainingError(f"{where}.{name} is {value}, expected more than 0")
        shares = ("drop_condition", "label_smoothing", "validation_fraction")
        _check_fractions(
            where,
            {name: v for name, v in vars(self).items() if name in shares or "dropout" in name},
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage1(Schedule):
    """The brain model."""

    mixco_beta: float = 0.15
    temperature: float = 0.006
    text_temperature: float = 0.1
    text_weight: float = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage2(Schedule):
    """The diffusion prior and the decoupler, on a frozen brain model."""

    prior_weight: float = 30.0
    drop_condition: float = 0.2
    """How often the prior goes without its brain or image condition."""
    soft_temperature_start: float = 0.004
    soft_temperature_end: float = 0.0075
    text_temperature: float = 0.1
    label_smoothing: float = 0.1
    attention_dropout: float = 0.1
    decoder_dropout: float = 0.3
    caption_dropout: float = 0.1
    backbone_dropout: bool = False
    """The public code leaves dropout of the frozen backbone on."""
    segmentation_loss: str = "bce"
    """`bce` as in the supplement, `dice` as in the public code."""
    ask_by_class: float = 0.5
    """How often masks are asked for by the key object's class, as live, instead of its name."""
    text_keys: str = "tokens"
    """`tokens` of the same clip; `batch` as in the public code, where results depend on it."""
    progressive: bool = True
    decoupled: bool = True
    """Without: no segmentation, concepts, captions or reconstruction (NeuroClips-like)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """All of a training."""

    sizes: Sizes
    brain: Stage1
    decoupler: Stage2

    @classmethod
    def load(cls, preset_or_path: str, overrides: Mapping[str, Any] | None = None) -> Self:
        """Reads a preset by name or a file by path; `overrides` are `section.key` → value."""
        if preset_or_path in PRESETS:
            text = (resources.files(__package__) / "presets" / f"{preset_or_path}.toml").read_text()
        else:
            path = Path(preset_or_path)
            if not path.is_file():
                raise TrainingError(
                    f"{preset_or_path}: expected a file or one of {', '.join(PRESETS)}"
                )
            text = path.read_text(encoding="utf-8")
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise TrainingError(f"{preset_or_path}: not TOML: {error}") from error
        for name, value in (overrides or {}).items():
            section, _, key = name.partition(".")
            if section not in tables or not key:
                raise TrainingError(f"{name}: expected one of {', '.join(tables)}, a dot, a key")
            tables[section][key] = value
        return cls.from_tables(tables, preset_or_path)

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], where: str) -> Self:
        """Makes a config of parsed TOML; `where` names its origin in messages."""
        if tables.keys() != {"sizes", "brain", "decoupler"}:
            raise TrainingError(
                f"{where}: sections are {sorted(tables)}, expected brain, decoupler and sizes"
            )
        config = cls(
            sizes=_section(Sizes, tables["sizes"], f"{where}: sizes"),
            brain=_section(Stage1, tables["brain"], f"{where}: brain"),
            decoupler=_section(Stage2, tables["decoupler"], f"{where}: decoupler"),
        )
        config.sizes.check()
        config.brain.check("brain")
        config.decoupler.check("decoupler")
        return config

    def tables(self) -> dict[str, Any]:
        """As TOML knows it."""
        return dataclasses.asdict(self)

    def save(self, path: Path) -> None:
        """Writes all keys, defaults too."""
        path.write_text(tomli_w.dumps(self.tables()), encoding="utf-8")


def _section(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    types = get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in types:
            raise TrainingError(f"{where}.{key}: unknown, expected one of {', '.join(types)}")
        values[key] = _value(types[key], value, f"{where}.{key}")
    try:
        return kind(**values)
    except TypeError as error:
        raise TrainingError(f"{where}: {error}") from error


def _check_fractions(where: str, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if type(value) is float and not 0 <= value < 1:
            raise TrainingError(f"{where}.{name} is {value}, expected 0 or more, below 1")


def _value(kind: Any, value: Any, where: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if kind == tuple[int, ...] and isinstance(value, list | tuple):
        if not value or any(type(item) is not int or item < 1 for item in value):
            raise TrainingError(f"{where}: is {value!r}, expected a list of sizes above 0")
        return tuple(value)
    if type(value) is not kind:
        raise TrainingError(f"{where}: is {value!r}, expected {getattr(kind, '__name__', kind)}")
    if isinstance(value, int | float) and value < 0:
        raise TrainingError(f"{where}: is {value!r}, expected 0 or more")
    return value
