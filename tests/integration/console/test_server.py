"""The console's server: pages and streams on one port."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from eaves.console.app import create_app
from eaves.console.context import ConsoleContext
from eaves.console.server import ConsoleServer
from eaves.console.settings import ConsoleSettings
from eaves.console.stream import Feed, StreamServer
from eaves.console.views import stream
from tests.event_stream import EventStream, Received
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.feed import FakeFeed
from tests.waiting import wait_until


@pytest.fixture
def feeds() -> Iterator[dict[str, FakeFeed]]:
    """Feeds by the label of their query."""
    made: dict[str, FakeFeed] = {}

    def build(_: ConsoleContext, query: Mapping[str, str]) -> Feed:
        return made.setdefault(query.get("label", ""), FakeFeed())

    stream.FEEDS["of-the-test"] = build
    yield made
    del stream.FEEDS["of-the-test"]


@contextmanager
def serving(listening: socket.socket | None = None) -> Iterator[ConsoleServer]:
    streams = StreamServer(poll_s=0.02)
    app = create_app(ConsoleContext(backend=FakeBackend(), settings=ConsoleSettings(), streams=streams))
    server = ConsoleServer(app, streams, listening=listening, is_trusted=True)
    try:
        yield server
    finally:
        server.stop()


def connect(server: ConsoleServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def test_streams_continue_where_their_page_or_the_browser_stands(feeds: dict[str, FakeFeed]) -> None:
    feeds["rose"] = FakeFeed(texts=["a", "b", "c"])
    with serving() as server:
        path = "/stream/of-the-test?after=1&label=rose"
        with EventStream(connect(server), path) as page, EventStream(connect(server), path, "Last-Event-ID: 2") as back:
            assert "Content-Type: text/event-stream; charset=utf-8\r\n" in page.head
            assert "Cache-Control: no-store\r\n" in page.head
            assert [page.next(), page.next(), page.next()][1:] == [
                Received(id="2", data="b"),
                Received(id="3", data="c"),
            ]
            assert [back.next(), back.next()][1:] == [Received(id="3", data="c")]
            assert (server.streams, server.idle_s()) == (2, 0.0)
            with EventStream(connect(server), "/stream/of-the-test?after=0&label=tulip") as other:
                feeds["rose"].texts.append("d")
                assert page.next() == back.next() == Received(id="4", data="d")
                other.next()
                feeds["tulip"].texts.append("t")
                assert other.next() == Received(id="1", data="t")
        wait_until(lambda: server.streams == server.connections == 0)
        assert 0 < server.idle_s() < 10


@pytest.mark.parametrize("position", ["-1", "x", "1e3", "9" * 30, "%0a"])
def test_a_position_that_is_none_loads_or_fills_the_page(feeds: dict[str, FakeFeed], position: str) -> None:
    feeds[""] = FakeFeed(texts=["a"])
    with serving() as server, EventStream(connect(server), f"/stream/of-the-test?after={position}") as page:
        assert [page.next(), page.next()][1:] == [Received(id="1", data="a")]


def test_an_unknown_stream_is_refused() -> None:
    with serving() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/stream/other")
        assert connection.getresponse().status == 404
        connection.close()


def test_a_socket_of_the_parent_listens_on_after_the_server(feeds: dict[str, FakeFeed]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(2):
            with serving(listening.dup()) as server:
                assert server.port == listening.getsockname()[1]
                with EventStream(connect(server), "/stream/of-the-test?after=0") as page:
                    page.next()
                    server.stop()
                    assert page.rest() == [Received(event="closing")]
        with socket.create_connection(listening.getsockname()):
            listening.accept()[0].close()


def test_many_connections_at_once_are_all_answered() -> None:
    with serving() as server:
        opened = [connect(server) for _ in range(100)]
        for connection in opened:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for connection in opened:
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
            connection.close()
        wait_until(lambda: server.connections == 0)
