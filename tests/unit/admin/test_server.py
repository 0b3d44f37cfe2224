"""The agent's small HTTP servers: what they are made of, and what they do when asked badly."""

import socket
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eaves.admin.client import ask_socket
from eaves.admin.server import AdminServer
from eaves.errors import ConfigError
from eaves.http_client.client import HttpAnswer, HttpClient
from eaves.ingress import Response


def echo(method: str, path: str, query: str) -> Response:
    if path == "/fails":
        raise RuntimeError("a defect")
    return Response(status=200, body=f"{method} {path} {query}".encode())


Ask = Callable[..., HttpAnswer]


@pytest.fixture(params=["port", "socket", "socket on a long path"])
def ask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ask]:
    if request.param == "port":
        server = AdminServer(echo)
        yield partial(ask_port, server.port)
    else:
        path = tmp_path / ("d" * (150 if "long" in request.param else 1)) / "socket"
        server = AdminServer(echo, path=path)
        yield partial(ask_socket, path, timeout_s=10)
    server.stop()


def ask_port(port: int, method: str, target: str, **options: Any) -> HttpAnswer:
    return HttpClient(connections=0).request(method, f"http://127.0.0.1:{port}{target}", timeout_s=10, **options)


def test_a_request_is_answered_and_the_next_after_a_defect_as_ever(ask: Ask):
    assert ask("GET", "/a/b?c=d").body == b"GET /a/b c=d"
    assert ask("GET", "/fails").status == 500
    assert ask("POST", "/a").body == b"POST /a "


@pytest.mark.parametrize(("made", "mode"), [(False, 0o700), (True, 0o755)], ids=["new folder", "existing folder"])
def test_the_socket_is_the_users_own_and_a_stale_one_is_replaced(tmp_path: Path, made: bool, mode: int):
    """A folder such as /run, which others use too, keeps its mode."""
    path = tmp_path / "admin" / "socket"
    if made:
        path.parent.mkdir(mode=0o755)
    else:
        AdminServer(echo, path=path).stop()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    server = AdminServer(echo, path=path)
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == mode
        assert ask_socket(path, "GET", "/a", timeout_s=10).status == 200
    finally:
        server.stop()
    assert not path.exists()


def test_a_second_server_leaves_the_socket_of_the_first_one_to_it(tmp_path: Path):
    path = tmp_path / "admin" / "socket"
    first = AdminServer(echo, path=path)
    try:
        with pytest.raises(ConfigError, match="another process listens there"):
            AdminServer(echo, path=path)
        assert ask_socket(path, "GET", "/a", timeout_s=10).status == 200
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
        first.stop()
        assert path.exists(), "it is not the first one's"
    finally:
        first.stop()


def test_a_body_is_refused(ask: Ask):
    assert ask("POST", "/a", body=b"x").status == 413
