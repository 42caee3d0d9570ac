"""An open-vocabulary segmenter behind HTTP: whatever finds a thing by its name in a picture.

Such models differ in what they need installed, so they run in a server of their own. The
protocol is one request a clip, `POST URL/segment`, pictures as base64 PNGs:

```text
→ {"format": 1, "frames": ["iVBOR…", …], "tags": ["dog", "grass"]}
← {"format": 1, "masks": [["iVBOR…", …], ["iVBOR…", …]]}
```

`masks` has a list for each tag, in the order of `tags`, with a picture for each frame: 8-bit
grey (or 1-bit), the size of the frame, 128 and more where the tag is. A tag that is not in a
frame has a black picture.
"""

import base64
import binascii
import io
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from corticast_training.labels.endpoint import BadAnswerError, Endpoint
from corticast_training.labels.vision_language import png

FORMAT = 1
INSIDE = 128


class Segmenter(Protocol):
    """Finds things by their names."""

    name: str
    """Told in every file of masks: masks of two segmenters do not go together."""

    def masks(self, frames: NDArray[np.uint8], tags: Sequence[str]) -> NDArray[np.bool_]:
        """Masks `[n_tag, F, h, w]` of frames `[F, h, w, 3]`.

        Raises `BadAnswerError` and `NoAnswerError`, which cost one clip.
        """
        ...


class HttpSegmenter:
    """Speaks the protocol above."""

    def __init__(self, endpoint: Endpoint, name: str) -> None:
        self._endpoint, self.name = endpoint, name

    def masks(self, frames: NDArray[np.uint8], tags: Sequence[str]) -> NDArray[np.bool_]:
        """See `Segmenter`."""
        body = {"format": FORMAT, "frames": [png(frame) for frame in frames], "tags": list(tags)}
        reply = self._endpoint.post("/segment", body)
        if not isinstance(reply, dict) or reply.get("format") != FORMAT:
            raise BadAnswerError(f"the reply is not of format {FORMAT}")
        shape = (len(tags), *frames.shape[:3])
        found = np.zeros(shape, np.bool_)
        for tag, pictures in enumerate(_list(reply.get("masks"), len(tags), "masks")):
            where = f"masks of {tags[tag]!r}"
            for frame, picture in enumerate(_list(pictures, len(frames), where)):
                found[tag, frame] = _mask(picture, frames.shape[1:3], f"{where}, frame {frame}")
        return found


def _list(value: Any, n: int, where: str) -> list[Any]:
    if not isinstance(value, list) or len(value) != n:
        found = f"{len(value)} entries" if isinstance(value, list) else type(value).__name__
        raise BadAnswerError(f"{where}: {found}, expected a list of {n}")
    return value


def _mask(picture: Any, shape: tuple[int, ...], where: str) -> NDArray[np.bool_]:
    try:
        data = base64.b64decode(picture, validate=True)
        # The size is read before the pixels: a small file can claim gigabytes.
        image = Image.open(io.BytesIO(data), formats=["PNG"])
        if image.size != shape[::-1]:
            raise BadAnswerError(f"{where}: {image.size}, expected the frame's {shape[::-1]}")
        return np.asarray(image.convert("L")) >= INSIDE
    except (binascii.Error, TypeError, ValueError, OSError, SyntaxError) as error:
        raise BadAnswerError(f"{where}: not a base64 PNG: {error}") from error
