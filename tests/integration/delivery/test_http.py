"""The HTTP client and a deliverer against a server that answers well, badly, in part or not at all."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, cycle
from pathlib import Path

import pytest

from eaves.base.backoff import Backoff
from eaves.delivery import SinkClient, SinkResponse
from eaves.errors import DeliveryError, InterceptedError, UnreachableError
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event, decode, encode_binary, encode_structured
from eaves.spool import Spool
from tests.fakes.http.server import FakeServer, open_server, respond
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


TAKEN = respond(202)


@pytest.fixture
def sink() -> Iterator[FakeServer]:
    with open_server(lambda _: TAKEN) as opened:
        yield opened


@pytest.fixture
def client() -> Iterator[SinkClient]:
    with SinkClient() as opened:
        yield opened


def as_response(encoded: tuple[dict[str, str], bytes], status: int = 200) -> bytes:
    headers, body = encoded
    return respond(status, body, *headers.items())


def test_an_event_arrives_as_it_was_sent(sink: FakeServer, client: SinkClient):
    answer = client.post(sink.url, IMAGE, prefer_reply=False, timeout_s=10)
    assert (answer.status, answer.event, answer.body, answer.retry_after_s) == (202, None, b"", None)
    assert answer.latency_ms > 0
    (asked,) = sink.asked
    assert decode(asked.headers, asked.body) == IMAGE
    assert "prefer" not in asked.headers
    assert asked.body == IMAGE.data, "binary mode: the body is the data"


def test_a_reply_is_decoded_in_either_mode(sink: FakeServer, client: SinkClient):
    for encode in (encode_binary, encode_structured):
        encoded = as_response(encode(REPLY))
        sink.answer = lambda _, encoded=encoded: encoded  # type: ignore[misc]
        answer = client.post(sink.url, IMAGE, prefer_reply=True, timeout_s=10)
        assert answer.event is not None
        assert answer.event.json() == {"label": "cat"}
        assert (answer.event.id, answer.event.type, answer.body) == (REPLY.id, REPLY.type, b"")
        assert answer.fault == ""
    assert sink.asked[0].headers["prefer"] == "reply"


def test_a_reply_with_202_or_an_error_is_no_reply(sink: FakeServer, client: SinkClient):
    for status in (202, 500):
        sink.answer = lambda _, status=status: as_response(encode_binary(REPLY), status)  # type: ignore[misc]
        answer = client.post(sink.url, IMAGE, prefer_reply=True, timeout_s=10)
        assert (answer.status, answer.event, answer.body) == (status, None, REPLY.data)


def test_a_broken_reply_is_a_body(sink: FakeServer, client: SinkClient, caplog: pytest.LogCaptureFixture):
    sink.answer = lambda _: respond(body=b"{", Content_Type="application/cloudevents+json")
    answer = client.post(sink.url, IMAGE, prefer_reply=True, timeout_s=10)
    assert (answer.status, answer.event, answer.body) == (200, None, b"{")
    assert answer.fault.startswith("the body is not JSON")
    assert "invalid CloudEvent" in caplog.text


def test_a_redirect_is_not_followed(sink: FakeServer, client: SinkClient):
    sink.answer = lambda _: respond(308, Location=sink.url)
    with pytest.raises(InterceptedError, match="answered 308 with a redirect to http://"):
        client.post(sink.url, IMAGE, prefer_reply=False, timeout_s=10)
    assert len(sink.asked) == 1


PAGE = b"<html><title>Welcome to Hotel WiFi</title><form>room number"
PORTAL = (
    respond(body=PAGE, Content_Type="text/html; charset=utf-8"),
    respond(body=b"\n<!DOCTYPE HTML>" + PAGE, Content_Type="text/plain"),
    respond(202, PAGE, Content_Type="text/html"),
    respond(511, PAGE, Content_Type="text/html"),
    respond(302, Location="http://portal.example/"),
)


@pytest.mark.parametrize("prefer_reply", [True, False])
def test_a_page_of_a_captive_portal_acknowledges_nothing(
    sink: FakeServer, client: SinkClient, prefer_reply: bool, tmp_path: Path
):
    """The lane of a broker, whose retries are limited, waits for the receiver too."""

    def send(event: Event) -> SinkResponse:
        return client.post(sink.url, event, prefer_reply=prefer_reply, timeout_s=10)

    pages = cycle(PORTAL)
    sink.answer = lambda _: next(pages)
    backoff = Backoff(retry=2, first_s=0.01, cap_s=0.01)
    with Spool(tmp_path / "spool.db") as spool:
        spool.put(IMAGE, lanes=("out",))
        with delivering(spool, send, backoff=backoff) as lane:
            wait_until(lambda: len(sink.asked) > 8 * len(PORTAL))
            assert spool.counts() == {"out": (1, 0)}
            assert "not the receiver" in lane.status().reason
            sink.answer = lambda _: TAKEN
            wait_until(lambda: spool.counts() == {})


def test_what_a_device_writes_into_the_tls_connection_is_no_answer_of_the_sink(tmp_path: Path):
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


def test_a_receiver_may_acknowledge_with_a_word(sink: FakeServer, client: SinkClient):
    """Flask sends a view's `return "ok"` as text/html."""
    for content_type in ("text/html; charset=utf-8", "text/plain", "application/json"):
        sink.answer = lambda _, kind=content_type: respond(body=b'"ok"', Content_Type=kind)  # type: ignore[misc]
        assert client.post(sink.url, IMAGE, prefer_reply=False, timeout_s=10).status == 200


def test_an_answer_too_large_is_cut_off(sink: FakeServer, client: SinkClient):
    big = b"x" * (17 << 20)
    sink.answer = lambda _: respond(body=big)
    with pytest.raises(DeliveryError, match="larger than 16777216 bytes"):
        client.post(sink.url, IMAGE, prefer_reply=True, timeout_s=30)
    sink.answer = lambda _: respond(400, big)
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
def test_an_answer_that_breaks_off_is_no_answer(sink: FakeServer, client: SinkClient, parts: Sequence[bytes]):
    sink.answer = lambda _: parts
    with pytest.raises(DeliveryError, match="no answer from"):
        client.post(sink.url, IMAGE, prefer_reply=True, timeout_s=10)


def test_an_answer_that_needs_no_length_is_taken(sink: FakeServer, client: SinkClient):
    """HTTP/1.0 ends it with the connection; 204 has no body."""
    for head, body in ((b"HTTP/1.0 200 OK\r\nServer: simple\r\n\r\n", b"OK"), (b"HTTP/1.1 204 None\r\n\r\n", b"")):
        sink.answer = lambda _, parts=(head, body): parts  # type: ignore[misc]
        assert client.post(sink.url, IMAGE, prefer_reply=True, timeout_s=10).body == body


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"])
def test_a_sink_that_says_no_more_is_given_up_in_time(sink: FakeServer, client: SinkClient, start: bytes):
    sink.answer = lambda _: chain([start], sink.hang())
    with pytest.raises(DeliveryError, match="timed out"):
        client.post(sink.url, IMAGE, prefer_reply=True, timeout_s=0.2)


def test_what_is_not_there_or_no_address_was_sent_nothing(client: SinkClient):
    for url, kind, message in (
        ("http://127.0.0.1:1/", UnreachableError, "no connection to"),
        ("http://host.invalid/", UnreachableError, "no connection to"),
        ("nonsense://x", DeliveryError, "no answer from"),
        ("http://[::1", DeliveryError, "no answer from"),
    ):
        with pytest.raises(kind, match=message) as error:
            client.post(url, IMAGE, prefer_reply=True, timeout_s=10)
        assert error.value.hint is not None
