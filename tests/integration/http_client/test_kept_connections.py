"""Requests over kept connections: real sockets, and servers that close them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from eaves.delivery import SinkClient
from eaves.events import IMAGE_CAPTURED, Event
from eaves.http_client.client import KEEP_S
from functions.server import IDLE_S
from tests.fakes.http.server import FakeServer, open_server, respond
from tests.waiting import wait_until

ACCEPTED = respond(202)
CLOSED = [ACCEPTED]
"""The same in pieces, after which the server closes the connection without a word before."""
EVENT = Event(id="1", source="/eaves/site/camera", type=IMAGE_CAPTURED, data=b"x" * 1_000)


@contextmanager
def replica(answer: bytes | list[bytes], *, keep_s: float = KEEP_S) -> Iterator[tuple[FakeServer, SinkClient]]:
    with open_server(lambda _: answer) as made, SinkClient(keep_s=keep_s) as client:
        yield made, client


def post(one: FakeServer, client: SinkClient) -> int:
    return client.post(one.url, EVENT, prefer_reply=True, timeout_s=30).status


def _has_closed(one: FakeServer, count: int) -> bool:
    return one.closed == count


def test_many_events_take_one_connection():
    with replica(ACCEPTED) as (one, client):
        assert [post(one, client) for _ in range(20)] == [202] * 20
        assert one.connections == 1


def test_a_connection_that_the_server_has_closed_is_not_used_again():
    with replica(CLOSED) as (one, client):
        for number in range(1, 4):
            assert post(one, client) == 202
            wait_until(partial(_has_closed, one, number), what="the end of the connection")
        assert one.connections == 3


def test_a_connection_that_nobody_used_for_a_while_is_closed_here_before_the_replica_does():
    """The replica would close it just as the next request is under way, and that would have no answer."""
    assert KEEP_S < IDLE_S / 1.5
    with replica(ACCEPTED, keep_s=0.0) as (one, client):
        for number in range(3):
            assert post(one, client) == 202
            wait_until(partial(_has_closed, one, number), what="the end of the connection before")
        assert one.connections == 3


def test_a_refusal_that_closes_its_connection_is_read():
    refused = respond(413, b"no", Connection="close")
    with replica(refused) as (one, client):
        assert client.request("POST", one.url, body=b"x" * 1_000_000, timeout_s=30).status == 413
