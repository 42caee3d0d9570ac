"""The options of an export of video networks."""

import dataclasses

from corticast_training.video.config import VideoConfig

EMBED_BELOW_BYTES = 64 * 2**20
"""Networks smaller than this lie inside their graphs; larger ones are shared beside them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """One set of graphs."""

    name: str
    config: VideoConfig
    precision: str
    dynamic: bool
    split: int = 0
    """Batch of the split graphs of a static set; 0: none."""
    roles: frozenset[str] | None = None
    """Graphs to write; `None`: all of the plan."""
    compact: bool = False
    """Short names inside the graphs."""
    embed_below_bytes: int = EMBED_BELOW_BYTES
    few_steps: str = ""
    """Name of the adapter that makes the networks of mode `live` good at few steps."""
