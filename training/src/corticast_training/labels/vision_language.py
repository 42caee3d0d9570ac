"""A vision-language model behind an OpenAI-compatible endpoint.

vLLM, llama.cpp, Ollama and LM Studio serve one: `POST URL/chat/completions` with the frames as
PNGs in data URLs.

If an answer has the wrong form, the model gets it back together with the reason. At temperature 0
the same question would only give the same answer.
"""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from corticast_training.labels.answer import Answer, message_of, read_answer
from corticast_training.labels.config import LabelsConfig
from corticast_training.labels.endpoint import BadAnswerError, Endpoint


class VisionLanguageModel:
    """Describes clips."""

    def __init__(self, endpoint: Endpoint, model: str, config: LabelsConfig) -> None:
        self._endpoint, self._model = endpoint, model
        self._config, self._describe = config, config.describe

    def describe(self, frames: NDArray[np.uint8]) -> Answer:
        """Caption and tags of frames `[F, h, w, 3]`.

        Raises `BadAnswerError` or `NoAnswerError`; then only this clip is lost.
        """
        shown = frames[evenly(len(frames), self._describe.frames)]
        pictures = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png(frame)}"}}
            for frame in shown
        ]
        question = {"type": "text", "text": self._describe.question(len(shown))}
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": self._describe.system},
            {"role": "user", "content": [*pictures, question]},
        ]
        reason = ""
        for _ in range(self._describe.attempts):
            said = ""
            try:
                said = message_of(self._endpoint.post("/chat/completions", self._body(messages)))
                return read_answer(said, self._config.class_of, self._describe.max_tags)
            except BadAnswerError as error:
                reason = str(error)
            again = {"role": "user", "content": self._describe.again.format(reason=reason)}
            # Only the latest attempt: a long chat would not fit into a small context.
            messages = [*messages[:2], {"role": "assistant", "content": said or "{}"}, again]
        raise BadAnswerError(
            f"{self._describe.attempts} answers cannot be used, the last: {reason}"
        )

    def _body(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": messages,
            "temperature": self._describe.temperature,
            "max_tokens": self._describe.answer_tokens,
        }
        if self._describe.response_format:
            body["response_format"] = {"type": self._describe.response_format}
        return body


def evenly(n: int, wanted: int) -> NDArray[np.int64]:
    """Positions of `wanted` of `n` frames: the middle of each of `wanted` equal stretches."""
    wanted = min(n, wanted)
    return (2 * np.arange(wanted) + 1) * n // (2 * wanted)


def png(picture: NDArray[np.uint8]) -> str:
    """A picture as a base64 PNG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=3)
    return base64.b64encode(file.getvalue()).decode()
