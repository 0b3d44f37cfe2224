"""An HTTP proxy on loopback: tunnels (CONNECT) and requests in absolute form, to servers on loopback.

Clients reach no loopback address through a proxy, so tests use names that nobody resolves; `routes` says which server
of the test each name stands for.
"""

import http.client
import select
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import StreamRequestHandler
from urllib.parse import urlsplit

from tests.fakes.threaded_server import ThreadedServer, serving
from tests.inputs.certificates import Certificate, build_server_context


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request to the proxy.

    Attributes:
        method: HTTP method.
        target: `HOST:PORT` of a tunnel, otherwise a URL.
        headers: Names in lower case.
    """

    method: str
    target: str
    headers: Mapping[str, str]


@dataclass
class FakeProxy:
    """The proxy's settings and what it was asked.

    Attributes:
        host: Its own `HOST:PORT`.
        routes: `HOST:PORT` to the port on loopback that serves it.
        authorization: Proxy-Authorization that it demands; empty demands none.
        status: Answered to everything in place of passing it on; 0 passes it on, -1 hangs up.
        asked: Every request so far.
    """

    host: str = ""
    routes: dict[str, int] = field(default_factory=dict)
    authorization: str = ""
    status: int = 0
    asked: list[Asked] = field(default_factory=list)

    def targets(self) -> list[str]:
        """Method and target of every request so far."""
        return [f"{one.method} {one.target}" for one in self.asked]


@contextmanager
def open_proxy(certificate: Certificate | None = None) -> Iterator[FakeProxy]:
    """A running proxy.

    Args:
        certificate: Certificate of the proxy itself, which is then reached by TLS.
    """
    proxy = FakeProxy()

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            _handle(proxy, self)

    server = ThreadedServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        server.socket = build_server_context(certificate).wrap_socket(server.socket, server_side=True)
    proxy.host = f"127.0.0.1:{server.server_address[1]}"
    with serving(server):
        yield proxy


def _handle(proxy: FakeProxy, handler: StreamRequestHandler) -> None:
    words = handler.rfile.readline().decode().split()
    if len(words) != 3:
        return
    method, target, _ = words
    headers = {name.lower(): value for name, value in http.client.parse_headers(handler.rfile).items()}
    proxy.asked.append(Asked(method=method, target=target, headers=headers))
    if proxy.status < 0:
        return
    status = proxy.status
    if proxy.authorization and headers.get("proxy-authorization") != proxy.authorization:
        status = 407
    parts = urlsplit(target)
    place = target if method == "CONNECT" else f"{parts.hostname}:{parts.port or 80}"
    if not status and place not in proxy.routes:
        status = 502
    if status:
        handler.wfile.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        return
    with socket.create_connection(("127.0.0.1", proxy.routes[place]), timeout=30) as server:
        if method == "CONNECT":
            handler.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            body = handler.rfile.read(int(headers.get("content-length", "0")))
            kept = {name: value for name, value in headers.items() if not name.startswith("proxy-")}
            lines = [f"{name}: {value}" for name, value in {**kept, "connection": "close"}.items()]
            head = "\r\n".join([f"{method} {parts.path or '/'} HTTP/1.1", *lines, "", ""])
            server.sendall(head.encode() + body)
        _relay(handler.connection, server)


def _relay(client: socket.socket, server: socket.socket) -> None:
    """Pass bytes on in both directions until the server closes.

    One thread does both: two that use one TLS socket at once break its records.
    """
    waiting_for = [client, server]
    with suppress(OSError):
        while True:
            buffered = isinstance(client, ssl.SSLSocket) and client in waiting_for and client.pending()
            readable = [client] if buffered else select.select(waiting_for, [], [])[0]
            if client in readable:
                if data := client.recv(65536):
                    server.sendall(data)
                else:
                    waiting_for.remove(client)
                    server.shutdown(socket.SHUT_WR)
            if server in readable:
                if not (data := server.recv(65536)):
                    return
                client.sendall(data)
