"""The agent's small HTTP servers: what they are made of, and what they do when asked badly."""

from __future__ import annotations

import http.client
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.admin.client import UnixConnection
from eaves.admin.server import AdminServer
from eaves.errors import ConfigError
from eaves.ingress import Response


def echo(method: str, path: str, query: str) -> Response:
    if path == "/fails":
        raise RuntimeError("a defect")
    return Response(status=200, body=f"{method} {path} {query}".encode())


@pytest.fixture(params=["port", "socket", "socket on a long path"])
def connection(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[http.client.HTTPConnection]:
    if request.param == "port":
        server = AdminServer(echo)
        made: http.client.HTTPConnection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    else:
        path = tmp_path / ("d" * (150 if "long" in request.param else 1)) / "socket"
        server = AdminServer(echo, path=path)
        made = UnixConnection(path, 10)
    try:
        yield made
    finally:
        made.close()
        server.stop()


def ask(connection: http.client.HTTPConnection, method: str, target: str) -> tuple[int, bytes]:
    connection.request(method, target)
    response = connection.getresponse()
    return response.status, response.read()


def test_a_request_is_answered(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "GET", "/a/b?c=d") == (200, b"GET /a/b c=d")
    assert ask(connection, "POST", "/a") == (200, b"POST /a ")


def test_the_socket_and_its_folder_are_the_users_own_and_a_stale_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "admin" / "socket"
    path.parent.mkdir(mode=0o755)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    server = AdminServer(echo, path=path)
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert ask(UnixConnection(path, 10), "GET", "/a")[0] == 200
    finally:
        server.stop()
    assert not path.exists()


def test_a_second_server_leaves_the_socket_of_the_first_one_to_it(tmp_path: Path) -> None:
    path = tmp_path / "admin" / "socket"
    first = AdminServer(echo, path=path)
    try:
        with pytest.raises(ConfigError, match="another process listens there"):
            AdminServer(echo, path=path)
        assert ask(UnixConnection(path, 10), "GET", "/a")[0] == 200
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
        first.stop()
        assert path.exists(), "it is not the first one's"
    finally:
        first.stop()


def test_a_body_is_refused(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/a", body=b"x")
    assert connection.getresponse().status == 413
