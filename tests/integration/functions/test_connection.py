"""What ends a connection, by a clock that the test moves."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from waitress.adjustments import Adjustments

from functions.http.connection import IDLE_S, LINGER_S, STALLED_S, HttpConnection, RequestTimeout

TIMEOUT_S, RATE = 10.0, 1000
START = b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n"


class Listener:
    """What a connection needs of the server: it keeps the tasks."""

    draining = False

    def __init__(self) -> None:
        self.active_channels: dict[int, HttpConnection] = {}
        self.tasks: list[HttpConnection] = []
        self.refusals: list[tuple[int, str]] = []
        self.application = Flask("test")
        self.adj = Adjustments(host="127.0.0.1", port=0, ident=None)

    def add_task(self, task: HttpConnection) -> None:
        self.tasks.append(task)

    def has_room(self, asking: HttpConnection) -> bool:
        return True

    def refused(self, status: int, kind: str) -> None:
        self.refusals.append((status, kind))

    def pull_trigger(self) -> None:
        pass


@pytest.fixture
def ends() -> Iterator[tuple[HttpConnection, socket.socket]]:
    ours, theirs = socket.socketpair()
    listener = Listener()
    connection = HttpConnection(listener, ours, ("127.0.0.1", 1), listener.adj, map={})
    with theirs:
        yield connection, theirs
        connection.handle_close()


def after(connection: HttpConnection, seconds: float) -> Any:
    """The connection's server, that long after its sender's last sign."""
    moment = connection.heard + seconds - 1e-6  # a little less, since sums of floats are not exact
    connection.expire(moment, timeout_s=TIMEOUT_S, min_rate_bytes_s=RATE)
    return connection.server


def test_an_idle_one_is_closed_without_a_word(ends: tuple[HttpConnection, socket.socket]) -> None:
    connection, theirs = ends
    after(connection, IDLE_S)
    assert connection.connected
    after(connection, IDLE_S + 1)
    assert not connection.connected
    assert theirs.recv(1) == b""


def test_silence_within_a_request_ends_it(ends: tuple[HttpConnection, socket.socket]) -> None:
    connection, _ = ends
    connection.received(START)
    assert after(connection, TIMEOUT_S).tasks == []
    assert after(connection, TIMEOUT_S + 1).tasks == [connection]
    assert isinstance(connection.requests[0].error, RequestTimeout)
    assert not connection.held_bytes


def test_what_arrives_gives_time_at_the_least_rate(ends: tuple[HttpConnection, socket.socket]) -> None:
    connection, _ = ends
    connection.received(START)
    began = connection.heard
    connection.received(bytes(20 * RATE))
    for seconds, refused in ((TIMEOUT_S + 20, False), (TIMEOUT_S + 21, True)):
        connection.heard = began + seconds  # it has just sent something
        assert bool(after(connection, 0).tasks) is refused


def test_the_time_in_which_we_answer_is_not_the_senders(ends: tuple[HttpConnection, socket.socket]) -> None:
    connection, _ = ends
    connection.received(b"GET / HTTP/1.1\r\n\r\n" + START)
    after(connection, 1000)
    connection.requests.pop()
    assert after(connection, TIMEOUT_S).tasks == [connection]  # the GET's
    assert connection.request is not None


def test_a_refused_sender_may_go_on_for_a_while(ends: tuple[HttpConnection, socket.socket]) -> None:
    connection, theirs = ends
    connection.received(b"nonsense\r\n\r\n")
    connection.service()
    connection.handle_write()
    assert theirs.recv(12) == b"HTTP/1.0 400"
    assert connection.server.refusals == [(400, "http-400")]
    began = connection.heard
    connection.received(bytes(1000))
    assert not connection.held_bytes
    after(connection, STALLED_S)
    assert connection.connected
    connection.heard = began + LINGER_S + 1  # it still sends
    after(connection, 0)
    assert not connection.connected


def test_an_answer_that_nobody_reads_ends_it(ends: tuple[HttpConnection, socket.socket]) -> None:
    connection, _ = ends
    connection.write_soon(bytes(10_000_000))
    after(connection, TIMEOUT_S)
    assert connection.connected
    after(connection, TIMEOUT_S + 1)
    assert not connection.connected
