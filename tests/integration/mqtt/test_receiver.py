"""What a publisher's receiver holds in memory at the same time is bounded."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from eaves.events import Event, encode_binary
from eaves.publisher.receiver import Receiver
from tests.publishing import prediction

MAX_BYTES = 1_000_000


@contextmanager
def receiving(store: Callable[[Event], object], *, in_flight_bytes: int) -> Iterator[Receiver]:
    receiver = Receiver(store, host="127.0.0.1", port=0, max_bytes=MAX_BYTES, in_flight_bytes=in_flight_bytes)
    try:
        yield receiver
    finally:
        receiver.stop()


def post(port: int, size: int, *, chunked: bool = False) -> tuple[int, bytes]:
    headers, body = encode_binary(prediction(1, data=b"1" * size))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/", iter([body]) if chunked else body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_senders_keep_what_there_is_no_memory_for(chunked: bool) -> None:
    in_store, go_on = threading.Event(), threading.Event()

    def store(_: Event) -> None:
        in_store.set()
        assert go_on.wait(10)

    with receiving(store, in_flight_bytes=MAX_BYTES) as receiver, ThreadPoolExecutor(1) as sender:
        first: Future[tuple[int, bytes]] = sender.submit(post, receiver.port, 800_000, chunked=chunked)
        assert in_store.wait(10)
        status, problem = post(receiver.port, 300_000, chunked=chunked)
        assert (status, b"at the same time" in problem) == (429, True)
        go_on.set()
        assert first.result(10)[0] == 202
        assert post(receiver.port, 900_000, chunked=chunked)[0] == 202, "what was refused and what was stored is free"


def test_an_announced_length_takes_no_memory_from_others() -> None:
    with receiving(lambda _: None, in_flight_bytes=MAX_BYTES) as receiver:
        idle = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=10)
        idle.putrequest("POST", "/")
        idle.putheader("Content-Length", str(MAX_BYTES))
        idle.endheaders(b"1")
        assert post(receiver.port, 900_000)[0] == 202
        idle.close()


def test_the_largest_event_fits_whatever_the_bound_says() -> None:
    with receiving(lambda _: None, in_flight_bytes=10) as receiver:
        assert post(receiver.port, MAX_BYTES)[0] == 202
        assert post(receiver.port, MAX_BYTES + 1)[0] == 413
