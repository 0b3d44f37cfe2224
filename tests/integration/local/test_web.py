"""The local platform's web servers: their sockets, and that they come back."""

import gzip
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest

from eaves.events import Event
from eaves.http_client.client import HttpAnswer
from eaves.local.server import PlatformRoutes, WebServer, bind_port
from eaves.local.supervisor import Supervisor
from tests.syscalls import needs_strace, trace

BIND = """
import sys, pathlib
from eaves.local.server import WebServer
server = WebServer(print, path=pathlib.Path(sys.argv[1]))
server.stop()
"""


@needs_strace
def test_a_socket_is_its_owners_before_anybody_can_connect_and_the_umask_is_left_alone(tmp_path: Path):
    """The umask is the whole process's: a child started while it is changed would keep the changed one for ever."""
    path = tmp_path / "control.sock"
    calls = trace(BIND, path, "umask,bind,chmod,fchmodat,listen")
    assert [name for name, _ in calls] == ["bind", "chmod", "listen"]
    assert "0600" in calls[1][1]
    assert not path.exists()


@pytest.fixture
def broker_port() -> Iterator[int]:
    """A port of the platform's web application, behind which nothing is."""
    server = WebServer(PlatformRoutes(cast(Supervisor, Nothing())), listening=bind_port("127.0.0.1", 0))
    yield server.port
    server.stop()


class Nothing:
    """A runtime that takes every event, and whose one function answers with a packed body."""

    def accept(self, event: Event, trace: Mapping[str, str]) -> None:
        """Take it."""

    def forward(self, name: str, headers: dict[str, str], body: bytes) -> HttpAnswer:
        answered = {"content-encoding": "gzip", "content-type": "text/plain", "connection": "close"}
        return HttpAnswer(status=200, headers=answered, body=gzip.compress(body), latency_ms=0.0)


def test_a_functions_packed_answer_says_how_it_is_packed(broker_port: int):
    head = b"POST /functions/digits HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    packed = gzip.compress(b"a body")
    status, headers, body = send_raw(broker_port, head % len(packed) + packed)
    assert (status, headers["content-encoding"], headers.get("connection")) == (200, "gzip", None)
    assert gzip.decompress(body) == b"a body"


def send_raw(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(request)
        response = http.client.HTTPResponse(sock)
        response.begin()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


EVENT_HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        (
            EVENT_HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "the request has both Content-Length and Transfer-Encoding",
        ),
        (EVENT_HEAD + b"ce-id: 2\r\nContent-Length: 0\r\n\r\n", 400, "the header ce-id occurs 2 times"),
        (b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405, ""),
        (EVENT_HEAD + b"ce-large: " + b"x" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n", 431, "65536 bytes"),
    ],
)
def test_refusals_are_problem_documents(broker_port: int, request_: bytes, status: int, detail: str):
    found, headers, body = send_raw(broker_port, request_)
    assert (found, headers["content-type"]) == (status, "application/problem+json"), body
    document = json.loads(body)
    assert document["status"] == status
    assert detail in document["detail"]


def test_a_connection_ends_with_a_request_that_two_readers_could_end_differently(broker_port: int):
    """Source: RFC 9112, section 6.1."""
    smuggled = b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = EVENT_HEAD + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(smuggled)
    with socket.create_connection(("127.0.0.1", broker_port), timeout=10) as sock:
        sock.sendall(head + smuggled)
        answer = b"".join(iter(lambda: sock.recv(65_536), b""))
    assert answer.count(b"HTTP/1.") == 1
    assert answer.split()[1] == b"400"
