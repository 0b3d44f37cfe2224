"""Requests to replicas over kept connections: real sockets, and replicas that answer as they shouldn't."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from eaves.delivery import SinkClient
from eaves.errors import DeliveryError
from eaves.events import IMAGE_CAPTURED, Event
from eaves.http_client.client import KEEP_S
from functions.http.server import IDLE_S
from tests.ports import find_port
from tests.waiting import wait_until

ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
EVENT = Event(id="1", source="/eaves/site/camera", type=IMAGE_CAPTURED, data=b"x" * 1_000)


class Replica:
    """A server that reads whole requests and answers each with the same bytes.

    Attributes:
        answer: What it answers with.
        closes: Whether it closes the connection after an answer.
        requests: What came.
        connections: How many were made.
    """

    def __init__(self, answer: bytes, *, closes: bool = False, keep_s: float = KEEP_S) -> None:
        self.answer, self.closes = answer, closes
        self.requests: list[bytes] = []
        self.connections = 0
        self.closed = 0
        self._listener = socket.create_server(("127.0.0.1", find_port()))
        self.client = SinkClient(keep_s=keep_s)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self.client.close()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, suppress(OSError), peer.makefile("rb") as stream:
            while self._read(stream.readline, stream.read):
                peer.sendall(self.answer)
                if self.closes:
                    break
        self.closed += 1

    def _read(self, readline: Callable[[], bytes], read: Callable[[int], bytes]) -> bool:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = readline()
            if not line:
                return False
            head += line
        length = next((int(one[15:]) for one in head.lower().split(b"\r\n") if one.startswith(b"content-length:")), 0)
        self.requests.append(head + read(length))
        return True


@contextmanager
def replica(answer: bytes, *, closes: bool = False, keep_s: float = KEEP_S) -> Iterator[Replica]:
    made = Replica(answer, closes=closes, keep_s=keep_s)
    try:
        yield made
    finally:
        made.stop()


def post(one: Replica, timeout_s: float = 30.0) -> int:
    more = {"traceparent": "00-1"}
    return one.client.post(one.url, EVENT, prefer_reply=True, timeout_s=timeout_s, more_headers=more).status


def test_many_events_take_one_connection_and_arrive_as_they_are() -> None:
    with replica(ACCEPTED) as one:
        assert [post(one) for _ in range(20)] == [202] * 20
        assert one.connections == 1
        head, _, body = one.requests[-1].partition(b"\r\n\r\n")
        lines = {name.lower(): value for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n")[1:])}
        assert body == EVENT.data
        assert (lines[b"ce-id"], lines[b"prefer"], lines[b"traceparent"]) == (b"1", b"reply", b"00-1")


def _has_closed(one: Replica, count: int) -> bool:
    return one.closed == count


def test_a_connection_that_the_replica_has_closed_is_not_used_again() -> None:
    with replica(ACCEPTED, closes=True) as one:
        for number in range(1, 4):
            assert post(one) == 202
            wait_until(partial(_has_closed, one, number), what="the end of the connection")
        assert one.connections == 3


def test_a_connection_that_nobody_used_for_a_while_is_closed_here_before_the_replica_does() -> None:
    """The replica would close it just as the next request is under way, and that would have no answer."""
    assert KEEP_S < IDLE_S / 1.5
    with replica(ACCEPTED, keep_s=0.0) as one:
        for number in range(3):
            assert post(one) == 202
            wait_until(partial(_has_closed, one, number), what="the end of the connection before")
        assert one.connections == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf",
        b"not HTTP\r\n\r\n",
        b"",
    ],
    ids=["short", "short chunk", "junk", "nothing"],
)
def test_an_answer_that_breaks_off_is_none(answer: bytes) -> None:
    with replica(answer, closes=True) as one, pytest.raises(DeliveryError, match=r"no answer from http://127\.0\.0\.1"):
        post(one)


def test_a_refusal_that_closes_its_connection_is_read() -> None:
    refused = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    with replica(refused, closes=True) as one:
        assert one.client.request("POST", one.url, body=b"x" * 1_000_000, timeout_s=30).status == 413
