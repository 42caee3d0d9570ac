import socket
import threading
import time
from typing import Any

import pytest

from corticast_training.errors import TrainingError
from corticast_training.labels.config import Request
from corticast_training.labels.endpoint import Endpoint, NoAnswerError, is_loopback
from label_server import Handler, Server, reply, serve

# A machine that is busy is no reason to give up.
QUICK = Request(timeout_s=60.0, attempts=3, backoff_s=0.01)


def endpoint(url: str, request: Request = QUICK, **options: Any) -> Endpoint:
    return Endpoint(url, request, **({"frames_may_leave": False} | options))


def test_an_answer_comes_back_as_json_and_the_key_goes_along() -> None:
    with serve(lambda handler, *_: reply(handler, {"fine": [1, 2]})) as server:
        found = endpoint(f"{server.url}/v1/", key="secret").post("/chat", {"question": "é"})
    assert found == {"fine": [1, 2]}
    assert server.asked == [("/v1/chat", {"question": "é"})]
    assert server.headers[0]["Authorization"] == "Bearer secret"


def test_a_busy_endpoint_is_asked_again_after_twice_the_wait() -> None:
    times = []

    def behave(handler: Handler, server: Server, *_: Any) -> None:
        times.append(time.monotonic())
        status = {1: 500, 2: 429}.get(len(server.asked), 200)
        reply(handler, {"ok": True} if status == 200 else "busy", status)

    with serve(behave) as server:
        request = Request(timeout_s=60, attempts=3, backoff_s=0.1)
        assert endpoint(server.url, request).post("/x", {}) == {"ok": True}
    first, second = times[1] - times[0], times[2] - times[1]
    assert first >= 0.1
    assert second >= 0.2


def test_an_endpoint_that_stays_busy_is_given_up_with_what_it_said() -> None:
    with (
        serve(lambda handler, *_: reply(handler, "out of memory", 503)) as server,
        pytest.raises(NoAnswerError, match="503: out of memory, asked 3 times"),
    ):
        endpoint(server.url).post("/x", {})
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [301, 400, 401, 404])
def test_a_refused_request_is_not_sent_again_and_redirects_are_not_followed(status: int) -> None:
    with serve(lambda handler, *_: reply(handler, "no such model", status)) as server:
        with pytest.raises(TrainingError, match=f"{status}: no such model") as caught:
            endpoint(server.url).post("/x", {})
        assert not isinstance(caught.value, NoAnswerError)
    assert len(server.asked) == 1


def test_a_dropped_connection_is_no_answer_whenever_it_drops() -> None:
    def behave(handler: Handler, server: Server, *_: Any) -> None:
        if len(server.asked) == 1:
            handler.connection.shutdown(socket.SHUT_RDWR)
        elif len(server.asked) == 2:
            handler.send_response(200)
            handler.send_header("Content-Length", "100")
            handler.end_headers()
            handler.wfile.write(b'{"half": ')
        else:
            reply(handler, {"whole": 1})

    with serve(behave) as server:
        assert endpoint(server.url).post("/x", {}) == {"whole": 1}
        assert len(server.asked) == 3


def test_a_slow_endpoint_is_cut_off_also_when_it_drips() -> None:
    def silent(_: Handler, server: Server, *__: Any) -> None:
        server.stopped.wait()

    def dripping(handler: Handler, server: Server, *_: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not server.stopped.wait(0.05):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    for behave in (silent, dripping):
        with serve(behave) as server:
            # Neither server ever comes to an end of its own: only the limit ends this.
            with pytest.raises(NoAnswerError, match=r"no whole answer in 0.4 s, asked 1 time$"):
                endpoint(server.url, Request(0.4, 1, 0.01)).post("/x", {})
            assert not server.stopped.is_set()


def test_garbage_is_no_answer() -> None:
    with (
        serve(lambda handler, *_: reply(handler, "<html>it works</html>")) as server,
        pytest.raises(NoAnswerError, match="no JSON: '<html>it works"),
    ):
        endpoint(server.url).post("/x", {})


def test_nobody_listening_is_no_answer() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(NoAnswerError, match="refused"):
            endpoint(url).post("/x", {})


def test_frames_stay_on_this_machine_unless_somebody_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for url in (
        "http://192.168.0.9:8000/v1",
        "https://example.org/v1",
        "http://127.0.0.1.example.org/v1",
        "http://localhost.example.org",
        "http://[2001:db8::1]/v1",
        "http://0x7f000001/",
    ):
        with pytest.raises(TrainingError, match="--frames-may-leave"):
            endpoint(url)
        endpoint(url, frames_may_leave=True)
    with pytest.raises(TrainingError, match="expected only"):
        endpoint("http://127.0.0.1@example.org/v1")
    assert is_loopback("127.8.8.8")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    # A proxy would carry them away behind a loopback address.
    with (
        serve(lambda handler, *_: reply(handler, {"proxy": True})) as proxy,
        serve(lambda handler, *_: reply(handler, {"direct": True})) as server,
    ):
        monkeypatch.setenv("http_proxy", proxy.url)
        assert endpoint(server.url).post("/x", {}) == {"direct": True}
        assert proxy.asked == []


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1/", "http://", "http://a:b/"])
def test_what_is_no_url_is_said_to_be_none(url: str) -> None:
    with pytest.raises(TrainingError, match="URL"):
        endpoint(url)


def test_threads_share_an_endpoint() -> None:
    with serve(lambda handler, _, __, body: reply(handler, body)) as server:
        shared, found = endpoint(server.url, Request(60, 1, 0.01)), {}

        def ask(k: int) -> None:
            found[k] = shared.post("/x", {"k": k})

        threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {k: {"k": k} for k in range(8)}
