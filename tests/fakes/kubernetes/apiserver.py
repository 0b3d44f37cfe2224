"""Simulated API servers over real HTTP, for the official client: one, or hundreds behind one port.

Each cluster has a path of its own on the server (as it does behind Rancher), so that 200 of them cost one socket and a
thread per open connection.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.kubernetes import portforward
from tests.fakes.kubernetes.cluster import FakeCluster, Reply, Request, refusal, reply_json
from tests.fakes.kubernetes.kubeconfig import write_kubeconfig

__all__ = [
    "FakeCluster",
    "Reply",
    "Request",
    "open_apiserver",
    "open_apiservers",
    "refusal",
    "reply_json",
    "write_kubeconfig",
]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    clusters: Mapping[str, FakeCluster]
    cluster: FakeCluster

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        _, _, name, path = parts.path.split("/", 3)
        self.cluster = self.clusters[name]
        headers = {key.title(): value for key, value in self.headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        request = Request(method=self.command, path=f"/{path}", query=query, headers=headers, body=body)
        if self.cluster.hangs:
            self.cluster.closing.wait()
            self.close_connection = True
            return
        reply = self.cluster.answer(request)
        if reply.delay_s:
            self.cluster.closing.wait(reply.delay_s)
        self.close_connection = reply.status in {0, 101}
        if reply.status == 101:
            portforward.serve(self, request, self.cluster.backend, self.cluster.closing.wait)
        elif reply.status:
            self._send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server's names

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        length = {"Transfer-Encoding": "chunked"} if reply.stream else {"Content-Length": str(len(reply.body))}
        for name, value in {**length, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.stream is None:
            self.wfile.write(reply.body)
            return
        for chunk in reply.stream:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(timestamp or time.time() + self.cluster.skew_s)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 256

    def __init__(self, clusters: Mapping[str, FakeCluster]) -> None:
        super().__init__(("127.0.0.1", 0), type("Handler", (_Handler,), {"clusters": clusters}))
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none."""

    def end_connections(self) -> None:
        """So that no handler waits for a next request."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def open_apiservers(
    names: Sequence[str], *, certificate: tuple[Path, Path] | None = None
) -> Iterator[list[FakeCluster]]:
    """Clusters behind one port; with a certificate and its key over TLS, for clients that show the same one."""
    clusters = {name: FakeCluster(name) for name in names}
    server = _Server(clusters)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        context.load_verify_locations(certificate[0])
        context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    for name, cluster in clusters.items():
        cluster.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}/clusters/{name}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield list(clusters.values())
    finally:
        for cluster in clusters.values():
            cluster.closing.set()
        server.shutdown()
        server.end_connections()
        server.server_close()
        thread.join()


@contextmanager
def open_apiserver(name: str = "edge") -> Iterator[FakeCluster]:
    """One cluster."""
    with open_apiservers([name]) as (cluster,):
        yield cluster


@contextmanager
def refusing_url() -> Iterator[str]:
    """The URL of a server that is down: its port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
