"""Frames of a movie file at a lower rate, clip by clip."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from corticast_training.errors import TrainingError


def duration_s(path: Path) -> float:
    """How long a movie lasts, as its file says."""
    try:
        with av.open(str(path)) as container:
            stream = _video(container, path)
            if stream.duration is not None and stream.time_base is not None:
                return float(stream.duration * stream.time_base)
            if container.duration is not None:
                return float(container.duration / av.time_base)
    except (av.FFmpegError, OSError) as error:
        raise TrainingError(f"{path}: cannot be read as a movie: {error}") from error
    raise TrainingError(f"{path}: does not say how long it is, expected an .mp4 with an index")


def clip_frames(
    path: Path, n_clip: int, clip_s: float, n_frame: int, px: int
) -> Iterator[NDArray[np.uint8]]:
    """Yields `n_clip` clips `[n_frame, px, px, 3]`, RGB, squeezed to a square.

    Frame j of clip k is what is on the screen at `(k + j / n_frame) · clip_s`: every tenth
    frame of a 30 per second movie becomes 3 per second. A movie that ends less than half a clip
    early keeps its last frame; one that ends before that is refused.
    """
    times_s = np.arange(n_clip * n_frame, dtype=np.float64) * np.float64(clip_s / n_frame)
    clip: list[NDArray[np.uint8]] = []
    for frame in _frames_at(path, times_s, clip_s / 2, px):
        clip.append(frame)
        if len(clip) == n_frame:
            yield np.stack(clip)
            clip = []


def _frames_at(
    path: Path, times_s: NDArray[np.float64], slack_s: float, px: int
) -> Iterator[NDArray[np.uint8]]:
    """Yields what is on the screen at each of `times_s`, which increase."""
    shown: NDArray[np.uint8] | None = None
    taken, end_s = 0, 0.0
    try:
        with av.open(str(path)) as container:
            stream = _video(container, path)
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or 30)
            first_s: float | None = None
            for frame in container.decode(stream):
                if frame.time is None:
                    continue
                first_s = frame.time if first_s is None else first_s
                end_s = frame.time - first_s + 1 / rate
                # Times in files are rounded: half a frame's duration decides.
                last_s = end_s - 0.5 / rate
                if times_s[taken] >= last_s:
                    continue
                shown = _square(frame, px)
                while times_s[taken] < last_s:
                    yield shown
                    taken += 1
                    if taken == len(times_s):
                        return
    except (av.FFmpegError, OSError) as error:
        raise TrainingError(f"{path}: cannot be decoded: {error}") from error
    if shown is None or times_s[-1] - end_s >= slack_s:
        raise TrainingError(f"{path}: ends after {end_s:.2f} s, expected {times_s[-1]:.2f} s")
    for _ in times_s[taken:]:
        yield shown


def _video(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    if not container.streams.video:
        raise TrainingError(f"{path}: holds no video")
    return container.streams.video[0]


def _square(frame: av.VideoFrame, px: int) -> NDArray[np.uint8]:
    small = frame.reformat(width=px, height=px, format="rgb24", interpolation="AREA")
    return np.ascontiguousarray(small.to_ndarray(), dtype=np.uint8)
