"""The HTTP client and a deliverer against real servers: waitress, and sockets that break off."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask import Flask, Response, request
from waitress import wasyncore
from waitress.server import create_server

from eaves.base.backoff import Backoff
from eaves.delivery import SinkClient, SinkResponse
from eaves.errors import DeliveryError, InterceptedError, UnreachableError
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event, decode, encode_binary, encode_structured
from eaves.spool import Spool
from tests.inputs.certificates import build_server_context, make_certificate
from tests.unit.delivery.harness import delivering
from tests.waiting import wait_until

IMAGE = Event(
    id="1",
    source="/eaves/site/camera",
    type=IMAGE_CAPTURED,
    data=bytes(range(256)) * 8,
    datacontenttype="image/jpeg",
    subject="hall/ümlaut 1.jpg",
    time="2026-11-24T15:40:00Z",
    extensions={"partitionkey": "camera-1"},
)
REPLY = Event(
    id="2",
    source="/eaves/site/function",
    type=IMAGE_CLASSIFIED,
    data=b'{"label": "cat"}',
    datacontenttype="application/json",
)


@dataclass
class Sink:
    """A server that gives prepared answers and records what it got."""

    url: str = ""
    answer: Callable[[], Response] = field(default=lambda: Response(status=202))
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    ports: set[str] = field(default_factory=set)

    def events(self) -> list[Event]:
        return [decode(headers, body) for headers, body in self.got]


@pytest.fixture
def sink() -> Iterator[Sink]:
    state, app, sockets = Sink(), Flask(__name__), {}  # type: ignore[var-annotated]

    @app.route("/", methods=["GET", "POST"])
    def receive() -> Response:
        state.got.append((dict(request.headers), request.get_data()))
        state.ports.add(str(request.environ["REMOTE_PORT"]))
        return state.answer()

    server = create_server(app, host="127.0.0.1", port=0, threads=4, map=sockets, outbuf_overflow=64 << 20)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            wasyncore.loop(timeout=0.02, map=sockets, count=1)

    thread = threading.Thread(target=serve)
    thread.start()
    state.url = f"http://127.0.0.1:{server.effective_port}/"
    try:
        yield state
    finally:
        stop.set()
        thread.join()
        server.task_dispatcher.shutdown()
        wasyncore.close_all(sockets)


@pytest.fixture
def client() -> Iterator[SinkClient]:
    with SinkClient() as opened:
        yield opened


@contextmanager
def raw_server(*parts: bytes, hold: bool = False) -> Iterator[str]:
    """One connection that gets these bytes and is then closed, or kept open without another byte."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                received = b""
                while not received.endswith(IMAGE.data):  # closing with some of it unread would reset the connection
                    received += connection.recv(65536)
                for part in parts:
                    connection.sendall(part)
                if hold:
                    done.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            done.set()
            thread.join()


def as_response(encoded: tuple[dict[str, str], bytes], status: int = 200) -> Response:
    headers, body = encoded
    return Response(body, status=status, headers=headers)


def test_an_event_arrives_as_it_was_sent(sink: Sink, client: SinkClient) -> None:
    answer = client.post(sink.url, IMAGE, prefer_reply=False, timeout_s=10)
    assert (answer.status, answer.event, answer.body, answer.retry_after_s) == (202, None, b"", None)
    assert answer.latency_ms > 0
    assert sink.events() == [IMAGE]
    assert "Prefer" not in sink.got[0][0]
    assert sink.got[0][1] == IMAGE.data, "binary mode: the body is the data"


@pytest.mark.parametrize("encode", [encode_binary, encode_structured])
def test_a_reply_is_decoded_in_either_mode(
    sink: Sink, client: SinkClient, encode: Callable[[Event], tuple[dict[str, str], bytes]]
) -> None:
    sink.answer = lambda: as_response(encode(REPLY))
    answer = client.post(sink.url, IMAGE, prefer_reply=True, timeout_s=10)
    assert answer.event is not None
    assert answer.event.json() == {"label": "cat"}
    assert (answer.event.id, answer.event.type, answer.body) == (REPLY.id, REPLY.type, b"")
    assert answer.fault == ""
    assert sink.got[0][0]["Prefer"] == "reply"


def test_a_reply_with_202_or_an_error_is_no_reply(sink: Sink, client: SinkClient) -> None:
    for status in (202, 500):
        sink.answer = lambda status=status: as_response(encode_binary(REPLY), status)  # type: ignore[misc]
        answer = client.post(sink.url, IMAGE, prefer_reply=True, timeout_s=10)
        assert (answer.status, answer.event, answer.body) == (status, None, REPLY.data)


def test_a_broken_reply_is_a_body(sink: Sink, client: SinkClient, caplog: pytest.LogCaptureFixture) -> None:
    sink.answer = lambda: Response(b"{", content_type="application/cloudevents+json")
    answer = client.post(sink.url, IMAGE, prefer_reply=True, timeout_s=10)
    assert (answer.status, answer.event, answer.body) == (200, None, b"{")
    assert answer.fault.startswith("the body is not JSON")
    assert "invalid CloudEvent" in caplog.text


def test_a_redirect_is_not_followed(sink: Sink, client: SinkClient) -> None:
    sink.answer = lambda: Response(status=308, headers={"Location": sink.url})
    with pytest.raises(InterceptedError, match="answered 308 with a redirect to http://"):
        client.post(sink.url, IMAGE, prefer_reply=False, timeout_s=10)
    assert len(sink.got) == 1


PAGE = b"<html><title>Welcome to Hotel WiFi</title><form>room number"


@pytest.mark.parametrize(
    "answer",
    [
        Response(PAGE, content_type="text/html; charset=utf-8"),
        Response(b"\n<!DOCTYPE HTML>" + PAGE, content_type="text/plain"),
        Response(PAGE, status=202),
        Response(PAGE, status=511),
        Response(b"", status=302, headers={"Location": "http://portal.example/"}),
    ],
    ids=["a page", "a page as text", "202", "511", "a redirect"],
)
@pytest.mark.parametrize("prefer_reply", [True, False])
def test_a_page_of_a_captive_portal_acknowledges_nothing(
    sink: Sink, client: SinkClient, answer: Response, prefer_reply: bool, tmp_path: Path
) -> None:
    """The lane of a broker, whose retries are limited, waits for the receiver too."""
    sink.answer = lambda: answer

    def send(event: Event) -> SinkResponse:
        return client.post(sink.url, event, prefer_reply=prefer_reply, timeout_s=10)

    backoff = Backoff(retry=2, first_s=0.01, cap_s=0.01)
    with Spool(tmp_path / "spool.db") as spool:
        spool.put(IMAGE, lanes=("out",))
        with delivering(spool, send, backoff=backoff) as lane:
            wait_until(lambda: len(sink.got) > 8)
            assert spool.counts() == {"out": (1, 0)}
            assert "not the receiver" in lane.status().reason
            sink.answer = lambda: Response(status=202)
            wait_until(lambda: spool.counts() == {})


def test_what_a_device_writes_into_the_tls_connection_is_no_answer_of_the_sink(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    context = build_server_context(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection.dup() as raw, context.wrap_socket(connection, server_side=True) as tls:
                received = b""
                while not received.endswith(IMAGE.data):
                    received += tls.recv(65536)
                raw.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\nblocked by the appliance")
                with suppress(OSError):  # the client ends it with an alert
                    tls.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        with SinkClient(ca_certs_pem=certificate[0].read_text()) as client, pytest.raises(InterceptedError):
            client.post(url, IMAGE, prefer_reply=False, timeout_s=10)
        thread.join(10)


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "text/plain", "application/json"])
def test_a_receiver_may_acknowledge_with_a_word(sink: Sink, client: SinkClient, content_type: str) -> None:
    """Flask sends a view's `return "ok"` as text/html."""
    sink.answer = lambda: Response(b'"ok"', content_type=content_type)
    assert client.post(sink.url, IMAGE, prefer_reply=False, timeout_s=10).status == 200


def test_an_answer_too_large_is_cut_off(sink: Sink, client: SinkClient) -> None:
    big = b"x" * (17 << 20)
    sink.answer = lambda: Response(big)
    with pytest.raises(DeliveryError, match="larger than 16777216 bytes"):
        client.post(sink.url, IMAGE, prefer_reply=True, timeout_s=30)
    sink.answer = lambda: Response(big, status=400)
    answer = client.post(sink.url, IMAGE, prefer_reply=True, timeout_s=30)
    assert (answer.status, len(answer.body)) == (400, 64 << 10), "a refusal stays a refusal, however long"


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"HTTP/1.1 200 OK\r\nContent-Le"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"half"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf"],
        [b"SSH-2.0-OpenSSH_10.0\r\n"],
    ],
    ids=["nothing", "half a header", "half a body", "half a chunk", "another protocol"],
)
def test_an_answer_that_breaks_off_is_no_answer(client: SinkClient, parts: Sequence[bytes]) -> None:
    with raw_server(*parts) as url, pytest.raises(DeliveryError, match="no answer from"):
        client.post(url, IMAGE, prefer_reply=True, timeout_s=10)


@pytest.mark.parametrize(
    ("head", "body"),
    [(b"HTTP/1.0 200 OK\r\nServer: simple\r\n\r\n", b"OK"), (b"HTTP/1.1 204 No Content\r\n\r\n", b"")],
    ids=["HTTP/1.0 ends with the connection", "204 has no body"],
)
def test_an_answer_that_needs_no_length_is_taken(client: SinkClient, head: bytes, body: bytes) -> None:
    with raw_server(head + body) as url:
        assert client.post(url, IMAGE, prefer_reply=True, timeout_s=10).body == body


@pytest.mark.parametrize("parts", [[], [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"]])
def test_a_sink_that_says_no_more_is_given_up_in_time(client: SinkClient, parts: Sequence[bytes]) -> None:
    with raw_server(*parts, hold=True) as url, pytest.raises(DeliveryError, match="timed out"):
        client.post(url, IMAGE, prefer_reply=True, timeout_s=0.2)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://host.invalid/"])
def test_a_sink_that_is_not_there_was_sent_nothing(client: SinkClient, url: str) -> None:
    with pytest.raises(UnreachableError, match="no connection to") as error:
        client.post(url, IMAGE, prefer_reply=True, timeout_s=10)
    assert error.value.hint is not None


@pytest.mark.parametrize("url", ["nonsense://x", "http://[::1"])
def test_an_address_that_is_none_is_a_delivery_error(client: SinkClient, url: str) -> None:
    with pytest.raises(DeliveryError, match="no answer from") as error:
        client.post(url, IMAGE, prefer_reply=True, timeout_s=10)
    assert error.value.hint is not None
