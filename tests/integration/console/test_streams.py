"""The stream thread over real sockets: clients that come, go, read nothing, or send where nothing is expected."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.console.stream import StreamServer, StreamSubscription
from eaves.console.stream.client import MAX_INPUT_BYTES, MAX_PENDING_BYTES
from tests.event_stream import EventStream, Received
from tests.fakes.console.feed import FakeFeed
from tests.inputs.certificates import make_certificate
from tests.waiting import wait_until

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
OPENED = Received(event="opened", retry="500")


@pytest.fixture
def feed() -> FakeFeed:
    return FakeFeed()


@contextlib.contextmanager
def serving(*, max_streams: int = 100, heartbeat_s: float = 15.0) -> Iterator[StreamServer]:
    made = StreamServer(max_streams=max_streams, poll_s=0.02, heartbeat_s=heartbeat_s)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def server() -> Iterator[StreamServer]:
    with serving() as made:
        yield made


@contextlib.contextmanager
def connected(server: StreamServer, feed: FakeFeed, *, after: int = 0, session: str = "") -> Iterator[EventStream]:
    mine, other = socket.socketpair()
    other.settimeout(10)
    with EventStream(other, "/") as stream:
        server.open(mine, HEAD, StreamSubscription(key="all", feed=feed, after=after, session=session))
        yield stream


def test_one_thread_asks_one_feed_for_all_streams(server: StreamServer, feed: FakeFeed) -> None:
    other = FakeFeed()
    with connected(server, feed) as first, connected(server, other) as second:
        assert [first.next(), second.next()] == [OPENED, OPENED]
        feed.texts.append("<li>one</li>")
        expected = Received(id="1", data="<li>one</li>")
        assert [first.next(), second.next()] == [expected, expected]
        assert feed.threads == {"console-streams"}
        assert not other.threads, "a stream with the same query uses the feed that is there"


def test_a_thread_without_streams_does_nothing(server: StreamServer, feed: FakeFeed) -> None:
    with connected(server, feed) as stream:
        stream.next()
        wait_until(lambda: feed.polls > 2)
    wait_until(lambda: len(server) == 0)
    assert server.idle_s < 10
    before, spent = feed.polls, time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)
    time.sleep(0.3)  # several polls long
    assert feed.polls == before
    assert time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID) - spent < 0.1
    assert server.idle_s >= 0.3


def test_a_stream_sends_its_position_when_nothing_happens(feed: FakeFeed) -> None:
    with serving(heartbeat_s=0.1) as server, connected(server, feed) as stream:
        stream.next()
        feed.texts += [None, None]
        blocks = iter(stream.next, None)
        assert next(block for block in blocks if block.id == "2") == Received(id="2")


def test_a_client_that_was_not_caught_up_is_told_no_position(feed: FakeFeed) -> None:
    feed.texts += ["a", "b"]
    with serving(heartbeat_s=0.1) as server, connected(server, feed) as first:
        first.next()
        wait_until(lambda: feed.polls > 0)
        feed.error = OSError("the history can't be read")
        with connected(server, feed, after=1) as second:
            assert second.next() == OPENED
            received = b""
            while received.count(b":\n") < 3:
                received += second.connection.recv(100)
            assert b"id:" not in received, "its page lacks b, and would never ask for it again"
            feed.error = None
            assert second.next() == Received(id="2", data="b")


def test_too_many_streams_become_polls(feed: FakeFeed) -> None:
    feed.texts += ["a", "b"]
    with serving(max_streams=2) as server:
        with connected(server, feed), connected(server, feed) as second:
            second.next()
            with connected(server, feed, after=1) as third:
                assert third.rest() == [Received(event="crowded", retry="5000"), Received(id="2", data="b")]
            assert len(server) == 2
        wait_until(lambda: len(server) == 0)
        with connected(server, feed, after=2) as fourth:
            assert fourth.next() == OPENED


def test_a_session_that_has_expired_ends_its_streams_only(server: StreamServer, feed: FakeFeed) -> None:
    with connected(server, feed, session="one") as first, connected(server, feed, session="two") as second:
        first.next(), second.next()
        server.close("one")
        assert first.rest() == [Received(event="expired")]
        feed.texts.append("a")
        assert second.next() == Received(id="1", data="a")
        assert len(server) == 1


def test_a_client_that_reads_nothing_is_closed_and_others_are_served(server: StreamServer, feed: FakeFeed) -> None:
    with connected(server, feed) as good:
        good.next()
        mine, deaf = socket.socketpair()
        server.open(mine, HEAD, StreamSubscription(key="all", feed=feed, after=0))
        wait_until(lambda: len(server) == 2)
        for number in range(1, 200):
            feed.texts.append("x" * 8_192)
            received = good.next()
            assert received is not None
            assert received.id == str(number)
            if len(server) == 1:
                break
        assert len(server) == 1
        assert number * 8_192 < MAX_PENDING_BYTES + 500_000, "what the kernel holds is bounded as well"
        deaf.close()


def test_a_client_may_send_little_on_its_stream(server: StreamServer, feed: FakeFeed) -> None:
    with connected(server, feed) as stream:
        stream.next()
        stream.connection.sendall(b"x" * 1_000)
        feed.texts.append("a")
        assert stream.next() == Received(id="1", data="a")
        with pytest.raises(OSError, match=r"reset|pipe"):
            stream.connection.sendall(b"x" * 100 * MAX_INPUT_BYTES)
        wait_until(lambda: len(server) == 0)


def test_a_server_that_stops_says_so(feed: FakeFeed) -> None:
    with serving() as server, connected(server, feed) as stream:
        stream.next()
        server.stop()
        assert stream.rest() == [Received(event="closing")]
        mine, other = socket.socketpair()
        server.open(mine, HEAD, StreamSubscription(key="all", feed=feed, after=0))
        assert other.recv(10) == b""
        other.close()


def test_tls_clients_are_streamed_to_and_bounded_too(server: StreamServer, feed: FakeFeed, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path / "made")
    serving_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving_side.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))

    def open_tls() -> ssl.SSLSocket:
        mine, other = socket.socketpair()

        def accept() -> None:
            server.open(
                serving_side.wrap_socket(mine, server_side=True),
                HEAD,
                StreamSubscription(key="all", feed=feed, after=0),
            )

        accepting = threading.Thread(target=accept)
        accepting.start()
        other.settimeout(10)
        wrapped = trusting.wrap_socket(other, server_hostname="127.0.0.1")
        accepting.join()
        return wrapped

    deaf = open_tls()
    with EventStream(open_tls(), "/") as stream:
        assert stream.next() == OPENED
        for number in range(1, 200):
            feed.texts.append(f"{number} " + "x" * 8_192)
            received = stream.next()
            assert received is not None
            assert received.data.split()[0] == str(number)
            if len(server) == 1:
                break
        assert len(server) == 1
        server.close("")
        assert stream.rest() == [Received(event="expired")]
    deaf.close()


def count_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_many_streams_leave_nothing_behind(server: StreamServer, feed: FakeFeed) -> None:
    feed.texts += ["a"] * 3

    def come_and_go(count: int) -> None:
        for number in range(count):
            mine, other = socket.socketpair()
            server.open(mine, HEAD, StreamSubscription(key=number, feed=feed, after=number % 4))
            if number % 2:
                other.recv(10)
            other.close()
            if len(server) > 50:
                wait_until(lambda: len(server) < 10)
        wait_until(lambda: len(server) == 0)
        gc.collect()

    come_and_go(500)
    files, threads = count_files(), threading.active_count()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    come_and_go(10_000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert count_files() == files
    assert threading.active_count() == threads
    assert grown < 100_000
