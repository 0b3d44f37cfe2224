"""The console's server: pages and their polls over real connections."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from eaves.console.app import ConsoleServer, create_app
from eaves.console.backend import ConsoleContext
from tests.fakes.console.backend import FakeBackend
from tests.waiting import wait_until

POLL = "/parts/overview"


@contextmanager
def serving(listening: socket.socket | None = None) -> Iterator[ConsoleServer]:
    app = create_app(ConsoleContext(backend=FakeBackend()))
    server = ConsoleServer(app, listening=listening)
    try:
        yield server
    finally:
        server.stop()


def connect(server: ConsoleServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def test_an_open_page_polls_on_one_connection_and_gets_304_without_news():
    with serving() as server:
        page = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        page.request("GET", POLL, headers={"Accept-Encoding": "gzip"})
        answer = page.getresponse()
        assert (answer.status, answer.getheader("Content-Encoding")) == (200, "gzip")
        answer.read()
        tag = answer.getheader("ETag")
        assert tag
        for _ in range(3):
            page.request("GET", POLL, headers={"If-None-Match": tag, "Accept-Encoding": "gzip"})
            answer = page.getresponse()
            assert (answer.status, answer.read()) == (304, b"")
        assert server.connections == 1
        page.close()
        wait_until(lambda: server.connections == 0)
        assert 0 < server.idle_s() < 10


def test_a_socket_of_the_parent_listens_on_after_the_server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(2):
            with serving(listening.dup()) as server, connect(server) as page:
                assert server.port == listening.getsockname()[1]
                page.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert page.recv(100).startswith(b"HTTP/1.1 200 ")
                server.stop()
                while page.recv(65_536):
                    pass
        with socket.create_connection(listening.getsockname()):
            listening.accept()[0].close()
