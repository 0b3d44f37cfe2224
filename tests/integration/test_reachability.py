"""The connection test against real sockets: what it says of each thing that can be in the way."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eaves.reachability import parse_address, reach
from tests.inputs.certificates import build_server_context, make_certificate
from tests.ports import find_port


@contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that takes connections and says nothing of its own; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                connection.settimeout(2)
                try:
                    with context.wrap_socket(connection, server_side=True) if context else connection:
                        pass
                except OSError:
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join()


def test_a_port_where_nobody_listens():
    found = reach(f"127.0.0.1:{find_port()}")
    assert found is not None
    assert (found.kind, found.reason) == ("connection", "connection refused")


def test_a_server_that_accepts_and_says_nothing_of_tls():
    with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel accepts, nobody answers
        found = reach(f"tls://127.0.0.1:{server.getsockname()[1]}", timeout_s=0.2)
    assert found is not None
    assert (found.kind, found.reason) == ("connection", "no answer in time")


def test_a_certificate_is_trusted_by_the_authorities_that_are_named(tmp_path: Path):
    certificate = make_certificate(tmp_path / "certificates")
    with listening(build_server_context(certificate)) as port:
        address = f"tls://127.0.0.1:{port}"
        assert getattr(reach(address), "kind", None) == "certificate"
        assert reach(address, str(certificate[0])) is None


def test_a_server_without_tls_where_tls_is_asked():
    with listening() as port:
        assert getattr(reach(f"tls://127.0.0.1:{port}"), "kind", None) in {"tls", "connection"}


def test_addresses():
    assert parse_address("broker:1883") == ("broker", 1883, False)
    assert parse_address("tls://[fd00::1]:8883") == ("fd00::1", 8883, True)
    for address in ("", "broker", ":1", "broker:", "broker:0", "broker:70000", "broker:x"):
        with pytest.raises(ValueError, match="must be HOST:PORT"):
            parse_address(address)
