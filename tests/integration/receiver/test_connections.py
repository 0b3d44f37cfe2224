"""Connections of callers who want nothing good: they keep nobody out, and take no memory."""

import gzip
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from eaves.event_batch import MEDIA_TYPE, encode_batch
from eaves.link.protocol import EVENTS, SITE
from tests.proc import memory_bytes
from tests.processes.receiving import TOKEN, ReceiverProcess, Served, captured, classified, receiving
from tests.waiting import wait_until

CONNECTIONS = 32


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with receiving(tmp_path_factory.mktemp("receiver"), connections=CONNECTIONS, idle_s=2.0) as started:
        yield started


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with receiving(tmp_path_factory.mktemp("receiver"), tls=False, connections=CONNECTIONS) as started:
        yield started


def connect(receiver: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", receiver.port), timeout=15)


def connect_tls(receiver: Served) -> ssl.SSLSocket:
    assert receiver.tls is not None
    return receiver.tls.wrap_socket(connect(receiver), server_hostname="127.0.0.1")


def list_statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def is_answered(receiver: Served) -> bool:
    with receiver.sender(timeout_s=10) as sender:
        return sender.ask("GET", SITE)[0] == 200


def test_handshakes_that_are_never_finished_keep_nobody_out(tmp_path: Path):
    patient = receiving(tmp_path, connections=CONNECTIONS)  # a busy machine takes longer than the other one's 2 s
    with patient as receiver, ExitStack() as stack, receiver.sender() as kept:
        kept.send([classified(0)])
        silent = [stack.enter_context(connect(receiver)) for _ in range(3 * CONNECTIONS)]
        for connection in silent[::2]:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
        assert is_answered(receiver)
        assert kept.send([classified(0)]).repeated == 1, "a known caller keeps its connection"
        assert receiver.server.connections <= CONNECTIONS


@pytest.mark.long("connections are held until their time limit")
def test_idle_connections_keep_nobody_out_and_are_closed(receiver: Served):
    with ExitStack() as stack:
        idle = [stack.enter_context(connect_tls(receiver)) for _ in range(2 * CONNECTIONS)]
        assert is_answered(receiver)
        known = [stack.enter_context(receiver.sender()) for _ in range(2 * CONNECTIONS)]
        for sender in known:
            sender.send([classified(1)])
        assert is_answered(receiver)
        assert receiver.server.connections <= CONNECTIONS
        wait_until(lambda: receiver.server.connections <= CONNECTIONS // 2, 20, what="idle ones to be closed")
        del idle


def test_senders_of_one_byte_now_and_then_keep_nobody_out(receiver: Served):
    with ExitStack() as stack:
        slow = [stack.enter_context(connect_tls(receiver)) for _ in range(CONNECTIONS)]
        for connection in slow:
            try:
                connection.sendall(b"POST /v1/events HTTP/1.1\r\nHost: a\r\nX-A")
            except OSError:
                continue  # it has made room for another one
        for round_ in range(5):
            assert is_answered(receiver), round_
            for connection in slow[-CONNECTIONS // 2 :]:
                try:
                    connection.sendall(b"a")
                except OSError:
                    continue


def test_a_body_that_no_route_reads_is_not_the_next_request(plain: Served):
    known = f"Host: a\r\nAuthorization: Bearer {TOKEN}\r\n"
    body = b"".join(encode_batch([classified(1_000)])).decode()
    hidden = (
        f"POST /v1/events HTTP/1.1\r\n{known}Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    with connect(plain) as connection:
        connection.sendall(f"GET /v1/site HTTP/1.1\r\n{known}Content-Length: {len(hidden)}\r\n\r\n{hidden}".encode())
        connection.shutdown(socket.SHUT_WR)
        answers = b""
        while piece := connection.recv(65_536):
            answers += piece
    assert list_statuses(answers) == [200]
    wait_until(lambda: plain.server.connections == 0, what="the end of the connection")
    with plain.sender() as sender:
        assert sender.send([classified(1_000)]).stored == 1, "it was not stored before"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_its_sender_breaks_off_is_no_fault_of_an_event(plain: Served, chunked: bool):
    """A relay breaks off what it has begun to send before its turn, and a link that is cut breaks off anything."""
    before = plain.report()["received"].get("mill", {})
    framing, start = ("Transfer-Encoding: chunked", "a0\r\n[") if chunked else ("Content-Length: 9000", "[")
    head = f"POST /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: {MEDIA_TYPE}\r\n"
    for cut in (start, "" if chunked else "[{"):
        with connect(plain) as connection:
            connection.sendall(f"{head}{framing}\r\n\r\n{cut}".encode())
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass
        wait_until(lambda: plain.server.connections == 0, what="the end of the connection")
    assert plain.report()["received"].get("mill", {}) == before


def test_requests_in_one_go_are_answered_in_order(plain: Served):
    known = f"HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n"
    body = b"".join(encode_batch([classified(1)])).decode()
    post = f"POST /v1/events {known}Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with connect(plain) as connection:
        connection.sendall(
            f"GET /v1/site {known}\r\n{post}{post}GET /nothing {known}Connection: close\r\n\r\n".encode()
        )
        answers = b""
        while piece := connection.recv(65_536):
            answers += piece
    assert list_statuses(answers) == [200, 200, 200, 404]


@pytest.mark.long("connections are held until their time limit")
def test_many_large_bodies_at_once_stay_within_the_memory_and_get_through(tmp_path: Path):
    """16 images of 3 MB at once, 4 of which fit, and bodies that unpack to 15 MB: who is refused comes again."""
    bodies = [
        gzip.compress(b"".join(encode_batch([captured(number, data=os.urandom(3_000_000))]))) for number in range(4)
    ]
    bomb = gzip.compress(b"[" + b" " * 15_000_000 + b"]")
    sizes = {"EAVES_MAX_BYTES": "16000000", "EAVES_IN_FLIGHT_BYTES": "16000000"}
    with ReceiverProcess(tmp_path, **sizes) as receiver, ThreadPoolExecutor(18) as senders:

        def post(body: bytes) -> int:
            headers = {"Content-Type": MEDIA_TYPE, "Content-Encoding": "gzip"}
            with receiver.sender(timeout_s=60) as sender:
                return sender.ask("POST", EVENTS, body, headers)[0]

        def get_through(body: bytes) -> None:
            wait_until(lambda: post(body) == 200, 90, what="room for a body")

        peak = before = memory_bytes(receiver.pid)
        sent = [senders.submit(get_through, bodies[number % 4]) for number in range(16)]
        sent += [senders.submit(get_through, bomb) for _ in range(2)]
        while not all(one.done() for one in sent):
            peak = max(peak, memory_bytes(receiver.pid))
            time.sleep(0.02)  # how often it is looked at
        for one in sent:
            one.result()
        assert peak - before < 75_000_000, "about three times the budget: a body, its text and its events"
