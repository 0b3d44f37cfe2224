"""Senders who take too long, wherever in a request, are cut off, and what they had is free again."""

import logging
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.ingress import IngressLimits, IngressServer, ServerTls
from eaves.ingress.store_route import StoreRoute
from tests.inputs.certificates import make_certificate
from tests.waiting import wait_until

LIMIT_S = 0.5
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
BODY = HEAD + b"Content-Length: 100000\r\n\r\n"


@pytest.fixture
def server() -> Iterator[IngressServer]:
    limits = IngressLimits(
        max_bytes=100_000, in_flight_bytes=100_000, idle_s=LIMIT_S, headers_s=LIMIT_S, stall_s=LIMIT_S
    )
    made = IngressServer(StoreRoute(lambda _: None, max_bytes=100_000), host="127.0.0.1", port=0, limits=limits)
    try:
        yield made
    finally:
        made.stop()


def send_slowly(connection: socket.socket, piece: bytes, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection.sendall(piece)
        time.sleep(LIMIT_S / 5)  # the pace is what is tested


@pytest.mark.parametrize("begun", [b"", HEAD, BODY + b"1" * 90_000, HEAD + b"Transfer-Encoding: chunked\r\n\r\n5"])
def test_a_sender_who_stops_is_cut_off(server: IngressServer, begun: bytes):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(begun)
        began = time.monotonic()
        assert connection.recv(1024) == b""
        assert LIMIT_S / 2 < time.monotonic() - began < 8
        wait_until(lambda: server.connections == 0, what="the end of the connection")


def test_headers_that_never_end_are_cut_off(server: IngressServer):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as endless:
        endless.sendall(HEAD)
        with pytest.raises(OSError, match=r"reset|pipe"):
            send_slowly(endless, b"A: b\r\n", 8)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Python's ssl closes it by its counter
def test_a_connection_that_is_reset_at_once_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Load balancers test a port so, every few seconds."""
    certificate, key = make_certificate(tmp_path / "made")
    certificate.rename(tmp_path / "tls.crt")
    key.rename(tmp_path / "tls.key")
    limits = IngressLimits(max_bytes=100_000, in_flight_bytes=100_000)
    route = StoreRoute(lambda _: None, max_bytes=100_000)
    server = IngressServer(route, host="127.0.0.1", limits=limits, tls=ServerTls(tmp_path))
    try:
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as reset:
                reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: server.connections == 0, what="the end of the connections")
    finally:
        server.stop()
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []
