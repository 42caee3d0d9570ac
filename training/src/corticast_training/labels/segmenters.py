"""An open-vocabulary segmenter over HTTP: a model that finds an object in a picture by its name.

Such models need different packages, so each runs in a server of its own. The protocol is one
request per clip, `POST URL/segment`, with pictures as base64 PNGs:

```text
→ {"format": 1, "frames": ["iVBOR…", …], "tags": ["dog", "grass"]}
← {"format": 1, "masks": [["iVBOR…", …], ["iVBOR…", …]]}
```

`masks` has a list for each tag, in the order of `tags`, with a picture for each frame: 8-bit
grey (or 1-bit), the size of the frame, 128 or more where the tag's object is. If a frame does
not show the object, the picture is black.
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
    """Finds objects by their names."""

    name: str
    """Told in every file of masks: masks of two segmenters do not go together."""

    def masks(self, frames: NDArray[np.uint8], tags: Sequence[str]) -> NDArray[np.bool_]:
        """Masks `[n_tag, F, h, w]` of frames `[F, h, w, 3]`.

        Raises `BadAnswerError` or `NoAnswerError`; then only this clip is lost.
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
        # The size is read before the pixels, because a small file can claim gigabytes.
        image = Image.open(io.BytesIO(data), formats=["PNG"])
        if image.size != shape[::-1]:
            raise BadAnswerError(f"{where}: {image.size}, expected the frame's {shape[::-1]}")
        return np.asarray(image.convert("L")) >= INSIDE
    except (binascii.Error, TypeError, ValueError, OSError, SyntaxError) as error:
        raise BadAnswerError(f"{where}: not a base64 PNG: {error}") from error
