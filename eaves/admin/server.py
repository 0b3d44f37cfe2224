"""Small HTTP servers of an agent: its queue on a Unix socket of its user's, metrics and health on a TCP port.

Both take a bounded number of connections with one request each. When all are taken, the oldest is closed for the next
one, so that senders who hold theirs open keep nobody out.
"""

from __future__ import annotations

import logging
import os
import socket
import socketserver
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from eaves.admin.routes import AdminResponse, answer_problem
from eaves.admin.unix_socket import short_path
from eaves.errors import ConfigError, Fault
from eaves.web_origin import HINT, find_foreign, listens_on_loopback

CONNECTIONS = 8
TIMEOUT_S = 10.0
"""Longest wait for the other side's next bytes, seconds."""
POLL_S = 0.5
LINGER_BYTES = 65_536
"""Read at a time of what a refused sender still sends."""

Answer = Callable[[str, str, str], AdminResponse]
"""Method, path and query to a response."""

_log = logging.getLogger(__name__)


class AdminServer:
    """A running server.

    Args:
        answer: Gives the response to a request; called from several threads.
        port: TCP port; 0 takes a free one.
        host: Address of this machine to listen on.
        path: The Unix socket, in place of a port; its folder becomes accessible to this user only.

    Raises:
        ConfigError: When the address can't be listened on.
    """

    def __init__(self, answer: Answer, *, host: str = "127.0.0.1", port: int = 0, path: Path | None = None) -> None:
        self._path = path
        programs_only = path is None and listens_on_loopback(host)
        handler = type("Handler", (_Handler,), {"answer": staticmethod(answer), "programs_only": programs_only})
        try:
            if path is None:
                self._server: BoundedServer = BoundedTcpServer((host, port), handler)
            else:
                prepare_folder(path.parent)
                self._server = _UnixServer(str(path), handler)
        except OSError as error:
            where = f"{host}:{port}" if path is None else str(path)
            fault = Fault(origin="admin server", path="", message=f"{where} can't be listened on: {error}")
            raise ConfigError([fault], hint="choose another port or socket") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), name="admin-server", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The TCP port; 0 for a Unix socket."""
        return 0 if self._path is not None else int(self._server.server_address[1])

    def stop(self) -> None:
        """Stop listening and close every connection."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def prepare_folder(folder: Path) -> None:
    """Make a folder that only this user can enter.

    Raises:
        OSError: When it can't be made, or belongs to another user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user")
    folder.chmod(0o700)


class BoundedServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread a connection, of which there are at most `connections`; when all are taken, the oldest is closed.

    Attributes:
        connections: Most connections at the same time.
    """

    connections = CONNECTIONS

    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTIONS

    def __init__(self, *arguments: Any) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[int, socket.socket] = OrderedDict()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Make room for a connection, and start its thread."""
        with self._lock:
            if len(self._open) >= self.connections:
                _, oldest = self._open.popitem(last=False)
                _hang_up(oldest)
            self._open[id(request)] = request
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that is closed."""
        with self._lock:
            self._open.pop(id(request), None)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening, and close every connection."""
        super().server_close()
        with self._lock:
            for connection in self._open.values():
                _hang_up(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log where somebody looks for it only: the other side may end a connection at any time."""
        _log.debug("a request broke off", exc_info=True)


class BoundedTcpServer(BoundedServer):
    """The same, on a TCP port of an IPv4 or IPv6 address."""

    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


class _UnixServer(BoundedServer):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        """Bind, and restrict before anybody can connect: connecting is refused until `server_activate` listens."""
        path = Path(str(self.server_address))
        path.unlink(missing_ok=True)
        with short_path(path) as bound:
            self.socket.bind(bound)
        path.chmod(0o600)


class _Handler(BaseHTTPRequestHandler):
    server_version = "eaves"
    sys_version = ""
    timeout = TIMEOUT_S
    answer: Answer
    programs_only = False

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Log nothing: a probe every few seconds would fill the log."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the standard library finds wrong with a request."""
        self._send(answer_problem(code, message or "the request is not answered here"))

    def _respond(self) -> None:
        path, _, query = self.path.partition("?")
        try:
            response = self._refuse() or self.answer(self.command, path, query)
        except Exception:  # noqa: BLE001 - whoever asks next must be answered
            _log.exception("the answer to %s %s failed", self.command, path[:128])
            response = answer_problem(500, "unexpected error; see the log", kind="internal")
        self._send(response)
        if response.status in (403, 413):
            self._linger()

    def _refuse(self) -> AdminResponse | None:
        """What is answered in place of a route."""
        headers = self.headers
        if self.programs_only and (reason := find_foreign(headers.get("Host", ""), headers.get("Origin"))):
            return answer_problem(403, reason, HINT)
        if headers.get("Transfer-Encoding") or headers.get("Content-Length", "0").strip().lstrip("0"):
            return answer_problem(413, "no request with a body is taken here")
        return None

    def _linger(self) -> None:
        """Read and forget what the sender still sends, so that it gets to read its answer.

        Source: RFC 9112, section 9.6.
        """
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline and self.connection.recv(LINGER_BYTES):
            pass

    def _send(self, response: AdminResponse) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side has gone
