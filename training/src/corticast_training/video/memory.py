"""Whether an export fits into memory, checked before it starts.

The largest step is tracing and checking the fused graph: PyTorch holds the weights of its
networks, ONNX Runtime those of its session, and one pass of activations comes on top.
"""

from collections.abc import Iterable
from pathlib import Path

from corticast_training.errors import TrainingError

WEIGHT_SUFFIXES = (".safetensors", ".bin")
_MEMINFO = Path("/proc/meminfo")


def parameters_in(folder: Path) -> int:
    """Bytes of the weight files of a diffusers folder; of several spellings the largest."""
    return max(
        (sum(f.stat().st_size for f in folder.glob(f"*{suffix}")) for suffix in WEIGHT_SUFFIXES),
        default=0,
    )


def needed_bytes(weight_bytes: Iterable[int], frames: int, latent: int) -> int:
    """Estimate for the fused step.

    Weights as f32 in PyTorch for the check and as f32 in the session, twice the files' size
    where those are f32; activations after the score matrices of spatial attention at the top
    level: 2·F images x 8 heads x (h·w)² x 4 bytes.
    """
    scores = 2 * frames * 8 * (latent * latent) ** 2 * 4
    return 2 * sum(weight_bytes) + 2 * scores


def available_bytes() -> int | None:
    """Memory that is free or can be freed, `None` where the system does not say."""
    if not _MEMINFO.is_file():
        return None
    for line in _MEMINFO.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def require(needed: int, available: int | None) -> str:
    """What was estimated, in words. Raises `TrainingError` when it does not fit."""
    if available is None:
        return f"about {needed / 1e9:.1f} GB of memory needed, free memory unknown"
    if needed > available:
        raise TrainingError(
            f"the fused step needs about {needed / 1e9:.1f} GB of memory to be traced and "
            f"checked, {available / 1e9:.1f} GB are available: free some, or export on another "
            "machine"
        )
    return f"about {needed / 1e9:.1f} GB of memory needed, {available / 1e9:.1f} GB available"
