"""Answers that never end, interim answers, and slow receivers, from raw servers on loopback."""

import socket
import threading
import time
from contextlib import suppress

import pytest

from eaves.delivery import SinkClient
from eaves.errors import DeliveryError
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event, encode_binary
from eaves.http_client.client import HttpClient
from tests.fakes.http.server import open_server, respond

OK = b"HTTP/1.1 200 OK\r\n"
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "head": (OK + b"X: ", b"y"),
    "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "gzip name": (OK + b"Content-Encoding: gzip\r\nContent-Length: 9999999\r\n\r\n\x1f\x8b\x08\x08\0\0\0\0\0\3", b"a"),
    "chunk size": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1"),
    "trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "body": (OK + b"Content-Length: 9999999\r\n\r\n", b"1"),
}
"""What is sent once, and then again and again."""


@pytest.mark.parametrize("name", ENDLESS)
def test_an_answer_that_never_ends_is_cut_off(name: str):
    began = time.monotonic()
    with (
        open_server(lambda _: server.trickle(*ENDLESS[name])) as server,
        HttpClient() as client,
        pytest.raises(DeliveryError, match=r"timed out|time limit"),
    ):
        client.request("GET", server.url, timeout_s=0.5)
    assert time.monotonic() - began < 3


def test_interim_answers_are_no_answers():
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    with open_server(lambda _: [early, respond(body=b"%d" % len(server.asked))]) as server, HttpClient() as client:
        answers = [client.request("GET", server.url, timeout_s=5) for _ in range(3)]
    assert [(one.status, one.body) for one in answers] == [(200, b"1"), (200, b"2"), (200, b"3")]


def test_a_body_has_a_time_limit_for_each_piece_and_not_for_all_of_it():
    size = 3_000_000

    def take_slowly() -> None:
        for _ in range(2):
            sock = listener.accept()[0]
            with sock, suppress(OSError):
                while (part := sock.recv(100_000)) and not part.endswith(b"end"):
                    time.sleep(0.05)
                sock.sendall(respond(Connection="close"))

    small = ((socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536),)
    body = b"x" * size + b"end"
    with socket.create_server(("127.0.0.1", 0)) as listener, HttpClient(socket_options=small) as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        thread = threading.Thread(target=take_slowly)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        began = time.monotonic()
        assert client.request("POST", url, body=body, timeout_s=60, connect_s=1).status == 200
        assert time.monotonic() - began > 1
        with pytest.raises(DeliveryError, match="time"):
            client.request("POST", url, body=body, timeout_s=0.5)
        client.close()
        thread.join()


@pytest.mark.parametrize("data", [b'{"predictions": [{"lab', b'{"predictions": []}'])
def test_a_reply_without_a_length_may_be_cut_and_releases_nothing(data: bytes):
    """HTTP/1.0 ends a body with the connection, so a server that was killed meanwhile looks like one at its end."""
    reply = Event(id="2", source="/f", type=IMAGE_CLASSIFIED, datacontenttype="application/json", data=data)
    head = "".join(f"{name}: {value}\r\n" for name, value in encode_binary(reply)[0].items()).encode()
    answer = b"HTTP/1.0 200 OK\r\n" + head + b"\r\n" + data
    image = Event(id="1", source="/c", type=IMAGE_CAPTURED)
    with open_server(lambda _: answer) as server, SinkClient() as client:
        found = client.post(server.url, image, prefer_reply=True, timeout_s=5)
    assert found.event is None
    assert "no Content-Length" in found.fault
