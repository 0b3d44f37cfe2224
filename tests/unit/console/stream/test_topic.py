"""What the clients of one query get, in which order."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest

from eaves.console.stream import StreamMessage
from eaves.console.stream.client import StreamClient
from eaves.console.stream.encoding import RELOAD
from eaves.console.stream.topic import FAILED_PAUSE_S, StreamTopic
from tests.fakes.console.feed import FakeFeed


class Sent:
    """What was sent to each client, as one text."""

    def __init__(self, feed: FakeFeed) -> None:
        self.topic = StreamTopic("all", feed)
        self.texts: dict[StreamClient, str] = {}
        self._now = 0.0
        self._sockets: list[socket.socket] = []

    def join(self, *, after: int) -> StreamClient:
        mine, other = socket.socketpair()
        self._sockets += [mine, other]
        client = StreamClient(mine, session="", sent_at=0.0)
        self.topic.joining[client] = after
        self.texts[client] = ""
        self.poll()
        return client

    def poll(self, after_s: float = 1.0) -> None:
        self._now += after_s
        self.topic.poll(self._now, self._send)

    def close(self) -> None:
        for one in self._sockets:
            one.close()

    def _send(self, client: StreamClient, data: bytes) -> None:
        self.texts[client] += data.decode()


@pytest.fixture
def feed() -> FakeFeed:
    return FakeFeed()


@pytest.fixture
def sent(feed: FakeFeed) -> Iterator[Sent]:
    made = Sent(feed)
    yield made
    made.close()


def test_a_client_gets_what_its_page_lacks_and_then_what_is_new(feed: FakeFeed, sent: Sent) -> None:
    feed.texts += ["a", "b", "c"]
    client = sent.join(after=1)
    assert sent.texts[client] == "id: 2\ndata: b\n\nid: 3\ndata: c\n\n"
    feed.texts.append("d")
    sent.poll()
    assert sent.texts[client].endswith("id: 4\ndata: d\n\n")
    assert sent.texts[client].count("data: ") == 3


def test_clients_that_join_at_other_times_get_each_record_once(feed: FakeFeed, sent: Sent) -> None:
    clients = [sent.join(after=0)]
    for number in range(6):
        feed.texts.append(f"n{number}")
        clients.append(sent.join(after=max(0, number - 1)))
        sent.poll()
    for number, client in enumerate(clients):
        expected = [f"n{one}" for one in range(max(0, number - 2), 6)]
        assert [line[6:] for line in sent.texts[client].split("\n") if line.startswith("data: ")] == expected


def test_a_page_that_is_newer_than_a_long_burst_gets_no_record_twice(feed: FakeFeed, sent: Sent) -> None:
    feed.limit = 2
    first = sent.join(after=0)
    feed.texts += list("abcdefg")
    second = sent.join(after=5)
    assert sent.texts[second] == "", "the first client has only two records yet"
    for _ in range(4):
        sent.poll()
    assert sent.texts[second].replace("\n", " ").split() == ["id:", "6", "data:", "f", "id:", "7", "data:", "g"]
    assert sent.texts[first].count("data: ") == 7


def test_a_client_that_missed_too_much_loads_its_page_again(feed: FakeFeed, sent: Sent) -> None:
    feed.texts += ["x"] * 201
    assert sent.texts[sent.join(after=1)].count("data: x") == 200
    client = sent.join(after=0)
    assert sent.texts[client] == RELOAD.decode()


def test_a_page_of_a_history_that_was_replaced_is_loaded_again(feed: FakeFeed, sent: Sent) -> None:
    feed.texts += ["x"] * 5
    before = sent.join(after=5)
    feed.texts = ["first"]
    sent.poll()
    assert sent.texts[before] == RELOAD.decode()
    assert sent.texts[sent.join(after=5)] == RELOAD.decode()
    feed.texts.append("second")
    sent.poll()
    assert sent.texts[before].endswith("data: second\n\n")


def test_records_that_do_not_match_are_not_read_again(feed: FakeFeed, sent: Sent) -> None:
    sent.join(after=0)
    feed.texts += [None] * 50
    sent.poll()
    assert sent.topic.position == 50


def test_a_changed_state_reaches_all_clients_and_moves_nobody(feed: FakeFeed, sent: Sent) -> None:
    feed.texts.append("a")
    clients = [sent.join(after=1), sent.join(after=1)]
    feed.changes.append(StreamMessage(data="link down"))
    sent.poll()
    assert [sent.texts[client] for client in clients] == ["data: link down\n\n"] * 2
    assert sent.topic.position == 1


def test_a_feed_that_fails_is_logged_once_and_asked_again(
    feed: FakeFeed, sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    client = sent.join(after=0)
    feed.error = OSError("disk")
    feed.texts.append("a")
    for _ in range(5):
        sent.poll(FAILED_PAUSE_S)
    joining = sent.join(after=0)
    assert len(caplog.records) == 1
    assert joining in sent.topic.joining
    feed.error = None
    sent.poll(FAILED_PAUSE_S)
    assert sent.texts[client] == sent.texts[joining] == "id: 1\ndata: a\n\n"
    feed.error = OSError("disk again")
    sent.poll()
    assert len(caplog.records) == 2
