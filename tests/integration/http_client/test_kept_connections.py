"""Requests over kept connections: real sockets, and servers that close them."""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from eaves.delivery import SinkClient
from eaves.events import IMAGE_CAPTURED, Event
from eaves.http_client.client import KEEP_S
from functions.server import IDLE_S
from tests.waiting import wait_until

ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
EVENT = Event(id="1", source="/eaves/site/camera", type=IMAGE_CAPTURED, data=b"x" * 1_000)


class Replica(socketserver.ThreadingTCPServer):
    """A server that reads whole requests and answers each with the same bytes; it may close a connection after one."""

    daemon_threads = True

    def __init__(self, answer: bytes, *, closes: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.closes = answer, closes
        self.connections = self.closed = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(socketserver.StreamRequestHandler):
    server: Replica

    def handle(self) -> None:
        self.server.connections += 1
        with suppress(OSError):
            while head := self._read_head():
                length = re.search(rb"content-length: (\d+)", head.lower())
                self.rfile.read(int(length[1]) if length else 0)
                self.wfile.write(self.server.answer)
                if self.server.closes:
                    break

    def _read_head(self) -> bytes:
        head = b""
        while line := self.rfile.readline():
            head += line
            if line == b"\r\n":
                return head
        return b""

    def finish(self) -> None:
        super().finish()
        self.request.close()
        self.server.closed += 1


@contextmanager
def replica(answer: bytes, *, closes: bool = False, keep_s: float = KEEP_S) -> Iterator[tuple[Replica, SinkClient]]:
    with Replica(answer, closes=closes) as made, SinkClient(keep_s=keep_s) as client:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield made, client
        finally:
            client.close()
            made.shutdown()
            thread.join()


def post(one: Replica, client: SinkClient) -> int:
    return client.post(one.url, EVENT, prefer_reply=True, timeout_s=30).status


def _has_closed(one: Replica, count: int) -> bool:
    return one.closed == count


def test_many_events_take_one_connection() -> None:
    with replica(ACCEPTED) as (one, client):
        assert [post(one, client) for _ in range(20)] == [202] * 20
        assert one.connections == 1


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    with replica(ACCEPTED, closes=True) as (one, client):
        for number in range(1, 4):
            assert post(one, client) == 202
            wait_until(partial(_has_closed, one, number), what="the end of the connection")
        assert one.connections == 3


def test_a_connection_that_nobody_used_for_a_while_is_closed_here_before_the_replica_does() -> None:
    """The replica would close it just as the next request is under way, and that would have no answer."""
    assert KEEP_S < IDLE_S / 1.5
    with replica(ACCEPTED, keep_s=0.0) as (one, client):
        for number in range(3):
            assert post(one, client) == 202
            wait_until(partial(_has_closed, one, number), what="the end of the connection before")
        assert one.connections == 3


def test_a_refusal_that_closes_its_connection_is_read() -> None:
    refused = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    with replica(refused, closes=True) as (one, client):
        assert client.request("POST", one.url, body=b"x" * 1_000_000, timeout_s=30).status == 413
