"""Settings of a set of video networks: sizes, scheduler, prompts.

The values stand in `presets/video.toml`; a file of the same keys replaces single ones. They go
into `video.toml`, so that the daemon samples with what the networks were trained with.
"""

import dataclasses
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Self, get_type_hints

from corticast_training.errors import TrainingError

MAX_FRAMES = 32
"""Rows of the motion module's position table."""
TEXT_TOKENS = 77
"""Token ids of a prompt, padded."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """One set of video networks. See `presets/video.toml` for the meaning of each value."""

    frames: int
    latent: int
    guidance: float
    domain_lora_scale: float
    lcm_lora_scale: float
    vae_scale: float
    train_steps: int
    beta_start: float
    beta_end: float
    steps_offset: int
    lcm_original_steps: int
    lcm_timestep_scaling: float
    lcm_sigma_data: float
    pad_id: int
    prompt_suffix: str
    negative_prompt: str

    @classmethod
    def load(cls, path: Path | None = None, **changes: Any) -> Self:
        """Reads the preset, then the keys of a file, then `changes`; `None` changes nothing."""
        preset = resources.files("corticast_training") / "presets" / "video.toml"
        values = tomllib.loads(preset.read_text(encoding="utf-8"))
        if path is not None:
            try:
                values |= tomllib.loads(path.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise TrainingError(f"{path}: not TOML: {error}") from error
        values |= {key: value for key, value in changes.items() if value is not None}
        where = str(path or "presets/video.toml")
        types = get_type_hints(cls)
        for key, value in values.items():
            if key not in types:
                raise TrainingError(f"{where}: `{key}` is unknown, expected {', '.join(types)}")
            if types[key] is float and type(value) is int:
                values[key] = float(value)
            elif type(value) is not types[key]:
                raise TrainingError(
                    f"{where}: `{key}` is {value!r}, expected a {types[key].__name__}"
                )
        config = cls(**values)
        config._check(where)
        return config

    def _check(self, where: str) -> None:
        if not 1 <= self.frames <= MAX_FRAMES:
            raise TrainingError(f"{where}: frames is {self.frames}, expected 1 to {MAX_FRAMES}")
        if self.latent < 8 or self.latent % 8:
            raise TrainingError(
                f"{where}: latent is {self.latent}, expected a multiple of 8: the UNet halves "
                "it three times"
            )
        if not 0 < self.beta_start < self.beta_end < 1:
            raise TrainingError(
                f"{where}: beta_start and beta_end are {self.beta_start} and {self.beta_end}, "
                "expected 0 < beta_start < beta_end < 1"
            )
