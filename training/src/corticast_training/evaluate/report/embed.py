"""Pictures inside the page: data URIs."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHOWN_PX = 128
QUALITY = 85


def animation(frames: NDArray[np.uint8], clip_s: float) -> str:
    """Frames `[F, h, w, 3]` as an animated WebP that loops and lasts `clip_s`."""
    pictures = [_picture(frame) for frame in frames]
    content = io.BytesIO()
    pictures[0].save(
        content,
        format="WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 * clip_s / len(pictures)),
        loop=0,
        quality=QUALITY,
    )
    return _uri(content)


def strip(frames: NDArray[np.uint8]) -> str:
    """The same frames side by side, for paper and for readers who want no motion."""
    content = io.BytesIO()
    side_by_side = np.concatenate([np.asarray(_picture(frame)) for frame in frames], axis=1)
    Image.fromarray(side_by_side).save(content, format="WEBP", quality=QUALITY)
    return _uri(content)


def _picture(frame: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(frame)
    # Small pictures keep their pixels; large ones are shown at half their size or less.
    if picture.height < SHOWN_PX:
        scale = max(1, SHOWN_PX // picture.height)
        return picture.resize(
            (picture.width * scale, picture.height * scale), Image.Resampling.NEAREST
        )
    width = round(picture.width * SHOWN_PX / picture.height)
    return picture.resize((width, SHOWN_PX), Image.Resampling.LANCZOS)


def _uri(content: io.BytesIO) -> str:
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
