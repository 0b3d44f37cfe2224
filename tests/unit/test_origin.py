"""Which servers are on loopback, by the address that they listen on, and whom those refuse."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from eaves.admin.server import AdminServer
from eaves.ingress import IngressLimits, IngressServer, Response
from eaves.ingress.store_route import StoreRoute
from eaves.origin import find_foreign, is_loopback_host
from functions.settings import FunctionSettings
from tests.fakes.models.model import FakeModel, create_app


def test_an_address_of_a_server_or_a_connection_tells_whether_it_is_on_loopback():
    for host in ("127.0.0.2", "localhost", "::1", "::ffff:127.0.0.1"):
        assert is_loopback_host(host), host
    for host in ("0.0.0.0", "::", "127.0.0.1.lan", "::ffff:192.168.1.5", "fd00::2"):
        assert not is_loopback_host(host), host


def test_a_host_that_is_no_loopback_address_with_a_port_is_foreign():
    """RFC 9110, section 7.2: Host is a name or an address, and perhaps a port."""
    for host in ("127.0.0.1", "127.0.0.1:8481", "localhost:80", "[::1]:8481"):
        assert find_foreign(host, None) == "", host
    for host in ("", "evil.example", "a@127.0.0.1", "127.0.0.1:abc"):
        assert "only programs on this machine" in find_foreign(host, None), host


@contextmanager
def running(kind: str, host: str) -> Iterator[int]:
    if kind == "admin":
        server: AdminServer | IngressServer = AdminServer(lambda *_: Response(status=200), host=host)
    else:
        limits = IngressLimits(max_bytes=1000, in_flight_bytes=10_000, programs_only=True)
        server = IngressServer(StoreRoute(lambda _: None, max_bytes=1000), host=host, port=0, limits=limits)
    try:
        yield server.port
    finally:
        server.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("kind", ["admin", "ingress"])
def test_a_rebound_name_is_refused_on_either_loopback(kind: str, host: str):
    with running(kind, host) as port:
        assert ask(host, port, "evil.example") == 403
        assert ask(host, port, "localhost") != 403


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_function_refuses_a_rebound_name_on_either_loopback(host: str):
    client = create_app(FakeModel(), FunctionSettings(name="digits", host=host), concurrency=1).test_client()
    assert client.get("/health/liveness", headers={"Host": "evil.example"}).status_code == 403
    assert client.get("/health/liveness", headers={"Host": "[::1]:8080"}).status_code == 200


def ask(host: str, port: int, named: str) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", "/health", headers={"Host": named})
        return connection.getresponse().status
    finally:
        connection.close()
