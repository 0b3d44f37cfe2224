"""Publisher and relay store what they answer; what a server holds of bodies at the same time is bounded."""

import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from eaves.errors import SpoolFullError
from eaves.event_batch import MEDIA_TYPE, encode_batch
from eaves.events import Event, encode_binary, encode_structured
from eaves.ingress import IngressLimits, IngressServer
from eaves.ingress.connection import LINGER_S
from eaves.ingress.store_route import StoreRoute
from tests.processes.publishing import prediction

BATCH = {"Content-Type": MEDIA_TYPE}


class Storing:
    """A server whose store is a list that is full at 10 events."""

    def __init__(self, server: IngressServer, stored: list[Event]) -> None:
        self.stored = stored
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)

    def post(self, headers: dict[str, str], body: Any) -> int:
        self.connection.request("POST", "/", body, headers)
        response = self.connection.getresponse()
        response.read()
        return response.status


@contextmanager
def storing(*, batches: bool = True, keep_alive: bool = True) -> Iterator[Storing]:
    stored: list[Event] = []

    def store(events: Sequence[Event]) -> None:
        if len(stored) + len(events) > 10:
            raise SpoolFullError("full")
        stored.extend(events)

    route = StoreRoute(store, max_bytes=100_000, batches=batches)
    limits = IngressLimits(max_bytes=100_000, in_flight_bytes=1_000_000, keep_alive=keep_alive)
    server = IngressServer(route, host="127.0.0.1", port=0, limits=limits)
    made = Storing(server, stored)
    try:
        yield made
    finally:
        made.connection.close()
        server.stop()


def test_events_in_every_mode_over_one_connection():
    with storing() as server:
        assert server.post(*encode_binary(prediction(1))) == 202
        sock = server.connection.sock
        assert server.post(*encode_structured(prediction(2))) == 202
        assert server.post(BATCH, b"".join(encode_batch([prediction(3), prediction(4)]))) == 202
        headers, body = encode_binary(prediction(5))
        assert server.post({**headers, "Content-Encoding": "gzip"}, gzip.compress(body)) == 202
        assert server.connection.sock is sock
        assert [event.id for event in server.stored] == [f"id-{number}" for number in range(1, 6)]


def test_a_batch_is_stored_as_a_whole_or_not_at_all():
    with storing() as server:
        broken = json.loads(b"".join(encode_batch([prediction(1), prediction(2)])))
        del broken[1]["id"]
        assert server.post(BATCH, json.dumps(broken)) == 400
        assert server.post(BATCH, b"".join(encode_batch([prediction(number) for number in range(11)]))) == 429
        assert server.stored == []
        assert server.post(BATCH, b"".join(encode_batch([prediction(number) for number in range(10)]))) == 202


def test_a_server_may_take_no_batches_and_one_request_a_connection():
    with storing(batches=False, keep_alive=False) as server:
        assert server.post(BATCH, b"[]") == 415
        assert server.post(*encode_binary(prediction(1))) == 202
        assert server.connection.sock is None, "it said that it closes the connection"


def test_a_connection_of_an_old_sender_is_closed_unless_it_asks_to_keep_it():
    headers, body = encode_binary(prediction(1))
    lines = [f"{name}: {value}" for name, value in {**headers, "Content-Length": str(len(body))}.items()]
    closed = "\r\n".join(["POST / HTTP/1.0", *lines, "", ""]).encode() + body
    kept = closed.replace(b"\r\n", b"\r\nConnection: keep-alive\r\n", 1)
    with storing() as server, socket.create_connection(("127.0.0.1", server.connection.port), timeout=30) as plain:
        plain.sendall(kept + closed)
        assert b"".join(iter(lambda: plain.recv(4096), b"")).count(b"HTTP/1.1 202 ") == 2


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
def test_senders_keep_what_there_is_no_memory_for(chunked: bool):
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
def test_a_sender_that_reads_only_once_it_has_sent_everything_gets_its_answer(chunked: bool):
    """Most HTTP clients do; more than the sockets hold is sent after the answer."""
    with receiving(lambda _: None, in_flight_bytes=10) as receiver:
        status, problem = post(receiver.port, 30 * MAX_BYTES, chunked=chunked)
        assert (status, b"more than 1000000 bytes" in problem) == (413, True)


def send_for(connection: socket.socket, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection.sendall(b"1")
        time.sleep(0.05)


@pytest.mark.long("memory is measured while data are sent on and on")
def test_what_is_sent_on_and_on_is_cut_off():
    with (
        receiving(lambda _: None, in_flight_bytes=10) as receiver,
        socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as endless,
    ):
        endless.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % (10 * MAX_BYTES))
        assert endless.recv(1024).startswith(b"HTTP/1.1 413 ")
        with pytest.raises(OSError, match=r"reset|pipe"):
            send_for(endless, 2 * LINGER_S)
