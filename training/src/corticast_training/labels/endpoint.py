"""Sends JSON to one HTTP endpoint, with retries, on this machine only by default.

The frames of a movie may be confidential, so they stay on this machine unless an option allows
more. No proxy is used and no redirect is followed: both could carry frames elsewhere although a
loopback address was given.

If an endpoint is busy, restarts or drops a connection, the request is sent again, each time after
twice the wait. If it refuses the request itself (wrong path, model or key), there is no second
attempt, because it would refuse every clip.
"""

import ipaddress
import json
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from corticast_training.errors import TrainingError
from corticast_training.labels.config import Request

PASSING = (408, 425, 429)
"""Refusals that pass, besides 5xx."""
MAX_ANSWER_BYTES = 64 << 20
MAX_WAIT_S = 60.0
CHUNK_BYTES = 1 << 16


class NoAnswerError(TrainingError):
    """The endpoint answered none of the attempts. It may answer for another clip."""


class BadAnswerError(TrainingError):
    """The endpoint answered in the wrong form."""


class Endpoint:
    """Posts JSON to paths below one URL. Threads may share it: every request connects anew."""

    def __init__(
        self, url: str, request: Request, *, frames_may_leave: bool, key: str | None = None
    ) -> None:
        """Raises `TrainingError` for an invalid URL, or one that is not on this machine."""
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname, parts.port
        except ValueError as error:
            raise TrainingError(f"{url}: not a URL: {error}") from error
        if parts.scheme not in ("http", "https") or not self._host:
            raise TrainingError(f"{url}: expected a URL like http://127.0.0.1:8000/v1")
        if parts.query or parts.fragment or parts.username:
            raise TrainingError(f"{url}: expected only scheme, host, port and path")
        if not frames_may_leave and not is_loopback(self._host):
            raise TrainingError(
                f"{url}: {self._host} is not this machine, expected a loopback address such as "
                "127.0.0.1; --frames-may-leave sends the movie's frames to another one"
            )
        self._connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._path = parts.path.rstrip("/")
        self._request = request
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Sends `body`, returns the answer's JSON.

        Raises `NoAnswerError` if no attempt got an answer, `TrainingError` if the endpoint refuses
        the request.
        """
        data = json.dumps(body).encode()
        wait_s = self._request.backoff_s
        for left in reversed(range(self._request.attempts)):
            try:
                return self._post(path, data)
            except NoAnswerError as error:
                if not left:
                    n = self._request.attempts
                    raise NoAnswerError(f"{error}, asked {n} time{'s' * (n > 1)}") from error
            time.sleep(min(wait_s, MAX_WAIT_S))
            wait_s *= 2
        raise AssertionError("a request has at least one attempt")

    def _post(self, path: str, data: bytes) -> Any:
        where = f"{self._host}:{self._port or 'default port'}{self._path}{path}"
        deadline_s = time.monotonic() + self._request.timeout_s
        assert self._host is not None
        connection = self._connect(self._host, self._port, timeout=self._request.timeout_s)
        try:
            connection.request("POST", f"{self._path}{path}", data, self._headers)
            response = connection.getresponse()
            answer = bytearray()
            while chunk := response.read1(CHUNK_BYTES):
                answer += chunk
                # The socket's own time-out restarts with every byte.
                if time.monotonic() > deadline_s:
                    raise TimeoutError
                if len(answer) > MAX_ANSWER_BYTES:
                    raise TrainingError(f"{where} answers with more than {MAX_ANSWER_BYTES} bytes")
            missing = response.length
        except TimeoutError as error:
            raise NoAnswerError(
                f"{where} gave no whole answer in {self._request.timeout_s:g} s"
            ) from error
        except (OSError, HTTPException) as error:
            raise NoAnswerError(f"{where}: {str(error) or type(error).__name__}") from error
        finally:
            connection.close()
        said = bytes(answer[:300]).decode(errors="replace").strip()
        if response.status >= 500 or response.status in PASSING:
            raise NoAnswerError(f"{where} answers {response.status}: {said}")
        if response.status != 200:
            raise TrainingError(f"{where} refuses the request with {response.status}: {said}")
        if missing:
            raise NoAnswerError(f"{where} dropped the connection {missing} bytes early")
        try:
            return json.loads(bytes(answer))
        except ValueError as error:
            raise NoAnswerError(
                f"{where} answers with something that is no JSON: {said!r}"
            ) from error


def is_loopback(host: str) -> bool:
    """Whether a host is certainly this machine. Names other than `localhost` are not looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
