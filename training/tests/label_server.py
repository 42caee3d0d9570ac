"""A local HTTP server that stands in for a vision-language model and for a segmenter."""

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from corticast_training.labels.vision_language import png

Handler = BaseHTTPRequestHandler
Behaviour = Callable[[Handler, "Server", str, Any], None]


@dataclass
class Server:
    """What it was asked, and where it is."""

    url: str = ""
    asked: list[tuple[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve(behave: Behaviour) -> Iterator[Server]:
    """Runs a server on a port of the system's choice; `behave` answers each request."""
    server, lock = Server(), threading.Lock()

    class Answering(Handler):
        def do_POST(self) -> None:  # noqa: N802
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                server.asked.append((self.path, body))
                server.headers.append(dict(self.headers))
            behave(self, server, self.path, body)

        def log_message(self, *_: Any) -> None:
            """Tests are quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        http.shutdown()
        http.server_close()
        thread.join()


def reply(handler: Handler, body: Any, status: int = 200) -> None:
    """Sends JSON, or text as it is."""
    data = (body if isinstance(body, str) else json.dumps(body)).encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def chat(handler: Handler, text: str, **choice: Any) -> None:
    """A chat completion that says `text`."""
    reply(handler, {"choices": [{"message": {"role": "assistant", "content": text}, **choice}]})


def answer(caption: str, tags: dict[str, str]) -> str:
    """JSON of the right form."""
    listed = [{"tag": tag, "class": class_} for tag, class_ in tags.items()]
    return json.dumps({"caption": caption, "tags": listed})


def pictures_of(body: Any) -> list[NDArray[np.uint8]]:
    """The pictures of a request for a description, or for masks."""
    if "frames" in body:
        return [read_png(text) for text in body["frames"]]
    parts = [part for part in body["messages"][1]["content"] if part["type"] == "image_url"]
    prefix = "data:image/png;base64,"
    assert all(part["image_url"]["url"].startswith(prefix) for part in parts)
    return [read_png(part["image_url"]["url"].removeprefix(prefix)) for part in parts]


def read_png(text: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def masks_reply(masks: NDArray[np.bool_]) -> dict[str, Any]:
    """Masks `[n_tag, F, h, w]` in the segmenter's protocol."""
    grey = masks.astype(np.uint8) * 255
    return {"format": 1, "masks": [[png(picture) for picture in tag] for tag in grey]}
