"""What a server holds of bodies at the same time is bounded."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from eaves.events import Event, encode_binary
from eaves.ingress import IngressLimits, IngressServer
from eaves.ingress.connection import LINGER_S
from eaves.ingress.store_route import StoreRoute
from tests.processes.publishing import prediction

MAX_BYTES = 1_000_000


@contextmanager
def receiving(store: Callable[[Sequence[Event]], object], *, in_flight_bytes: int) -> Iterator[IngressServer]:
    route = StoreRoute(store, max_bytes=MAX_BYTES)
    limits = IngressLimits(max_bytes=MAX_BYTES, in_flight_bytes=in_flight_bytes)
    receiver = IngressServer(route, host="127.0.0.1", port=0, limits=limits)
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

    def store(_: Sequence[Event]) -> None:
        in_store.set()
        assert go_on.wait(10)

    with receiving(store, in_flight_bytes=MAX_BYTES) as receiver, ThreadPoolExecutor(1) as sender:
        first: Future[tuple[int, bytes]] = sender.submit(post, receiver.port, 800_000, chunked=chunked)
        assert in_store.wait(10)
        status, problem = post(receiver.port, 300_000, chunked=chunked)
        assert (status, b"send again later" in problem) == (429, True)
        go_on.set()
        assert first.result(10)[0] == 202
        assert post(receiver.port, 900_000, chunked=chunked)[0] == 202, "what was refused and what was stored is free"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_sender_that_reads_only_once_it_has_sent_everything_gets_its_answer(chunked: bool) -> None:
    """Most HTTP clients do; more than the sockets hold is sent after the answer."""
    with receiving(lambda _: None, in_flight_bytes=10) as receiver:
        status, problem = post(receiver.port, 30 * MAX_BYTES, chunked=chunked)
        assert (status, b"more than 1000000 bytes" in problem) == (413, True)


def send_for(connection: socket.socket, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection.sendall(b"1")
        time.sleep(0.05)


def test_what_is_sent_on_and_on_is_cut_off() -> None:
    with (
        receiving(lambda _: None, in_flight_bytes=10) as receiver,
        socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as endless,
    ):
        endless.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % (10 * MAX_BYTES))
        assert endless.recv(1024).startswith(b"HTTP/1.1 413 ")
        with pytest.raises(OSError, match=r"reset|pipe"):
            send_for(endless, 2 * LINGER_S)
