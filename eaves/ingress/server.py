"""Server that gives each connection a thread of its own."""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eaves.base.files import short_path
from eaves.errors import ConfigError, Fault
from eaves.ingress.connection import IngressConnection
from eaves.ingress.connections import Connections
from eaves.ingress.memory import MemoryBudget
from eaves.ingress.request import Serve
from eaves.ingress.tls.handshakes import FailedHandshakes
from eaves.ingress.tls.server_tls import ServerTls
from eaves.web.origin import listens_on_loopback

POLL_S = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressLimits:
    """Limits of a server on sizes, numbers and times.

    Attributes:
        max_bytes: Maximum size of a body, bytes.
        in_flight_bytes: Maximum memory of all bodies at the same time, bytes; one of `max_bytes` always fits.
        connections: Maximum number of connections at the same time.
        keep_alive: Whether a connection accepts more than one request.
        idle_s: Time without a request after which a connection is closed, seconds.
        headers_s: Time limit for all headers of a request, and for the first request to begin, seconds.
        stall_s: Maximum wait for the next bytes of a body, or for the peer to accept more of a response, seconds.
        programs_only: Whether a server on loopback refuses requests that web pages may have sent. A server that
            requires credentials doesn't need it, and may have a proxy before it.
    """

    max_bytes: int
    in_flight_bytes: int
    connections: int = 128
    keep_alive: bool = True
    idle_s: float = 60.0
    headers_s: float = 10.0
    stall_s: float = 30.0
    programs_only: bool = False


class IngressServer:
    """A running HTTP(S) server, which handles each connection in a thread of its own.

    Args:
        serve: Answers requests; called from several threads.
        limits: Limits of the server.
        host: Address of this machine to listen on.
        port: TCP port; 0 takes a free one.
        path: Path of a Unix socket of mode 0600, in place of host and port.
        listening: A TCP socket that listens already, in place of host, port and path, such as one that the parent
            process has opened.
        tls: Certificates; None for plain HTTP.
        name: Name of the server, for messages.

    Raises:
        ConfigError: When the server can't listen on the address.
    """

    def __init__(
        self, serve: Serve, *, limits: IngressLimits, host: str = "", port: int = 0, path: Path | None = None,
        listening: socket.socket | None = None, tls: ServerTls | None = None, name: str = "receiver",
    ) -> None:  # fmt: skip
        self._path = path
        address = listening or path or (host, port)
        try:
            self._listener = ListeningSocket(address, serve, limits, tls, name)
        except OSError as error:
            where, setting = (f"{host}:{port}", "port") if path is None else (str(path), "path")
            fault = Fault(origin=name, path=setting, message=f"can't listen on {where}: {error}")
            hint = "set another port with PORT" if path is None else "set another path for the socket"
            raise ConfigError([fault], hint=hint) from error
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(POLL_S,), name=name, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """TCP port; 0 for a Unix socket."""
        return int(self._listener.server_address[1]) if self._path is None else 0

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._listener.connections)

    @property
    def taken_bytes(self) -> int:
        """Memory that bodies take now, bytes."""
        return self._listener.budget.taken_bytes

    @property
    def failed_handshakes(self) -> int:
        """Number of failed TLS handshakes since the start."""
        return self._listener.handshakes.count

    def is_alive(self) -> bool:
        """Return whether the server accepts connections."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop listening and close every connection."""
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


class ListeningSocket(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listening socket, and the state that its connections share.

    Attributes:
        serve: Answers requests.
        limits: Limits of the server.
        budget: Memory for bodies.
        connections: Open connections.
        handshakes: Failed TLS handshakes.
        programs_only: Whether requests that web pages may have sent are refused.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int] | Path | socket.socket, serve: Serve, limits: IngressLimits,
        tls: ServerTls | None, name: str,
    ) -> None:  # fmt: skip
        self.serve = serve
        self.limits = limits
        self.budget = MemoryBudget(limits.in_flight_bytes, largest=limits.max_bytes, name=name)
        self.connections = Connections(limits.connections)
        self._tls = tls
        self._path = address if isinstance(address, Path) else None
        self._is_inherited = isinstance(address, socket.socket)
        self.handshakes = FailedHandshakes()
        self._released: set[int] = set()
        if isinstance(address, Path):
            self.programs_only, self.address_family = False, socket.AF_UNIX
            super().__init__(str(address), IngressConnection)  # type: ignore[arg-type]
            return
        bound = address.getsockname()[:2] if isinstance(address, socket.socket) else address
        self.programs_only = limits.programs_only and listens_on_loopback(bound[0])
        self.address_family = socket.AF_INET6 if ":" in bound[0] else socket.AF_INET
        super().__init__(bound, IngressConnection, bind_and_activate=not isinstance(address, socket.socket))
        if isinstance(address, socket.socket):
            self.socket.close()
            self.socket = address

    def server_bind(self) -> None:
        """Bind the socket to its address.

        The permissions of a Unix socket are restricted before a client can connect, as connecting is refused until the
        socket listens.
        """
        if self._path is None:
            super().server_bind()
            return
        self._path.unlink(missing_ok=True)
        with short_path(self._path) as bound:
            self.socket.bind(bound)
        self._path.chmod(0o600)

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection.

        Its own thread makes the TLS handshake, so a handshake that hangs delays no other connection.
        """
        connection, address = super().get_request()
        address = address or ("", 0)  # a Unix socket has no address
        if self._tls is None:
            return connection, address
        try:
            context = self._tls.context()
            wrapped = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        except OSError:
            connection.close()
            raise
        return wrapped, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Make room for a connection, and start its thread."""
        self.connections.add(request, str(client_address[0]))
        super().process_request(request, client_address)

    def release(self, connection: socket.socket) -> None:
        """Forget a connection without closing it, because another owner continues it."""
        self._released.add(id(connection))
        self.connections.remove(connection)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it, unless it was released."""
        if id(request) in self._released:
            self._released.remove(id(request))
            return
        self.connections.remove(request)
        super().shutdown_request(request)

    def shutdown(self) -> None:
        """End `serve_forever`. A socket that another process has opened stays usable, and is polled to its end."""
        if not self._is_inherited:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)  # ends the wait for connections, which else lasts up to POLL_S
        super().shutdown()

    def server_close(self) -> None:
        """Stop listening, and end every connection."""
        super().server_close()
        self.connections.hang_up_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log at debug level only, because the peer may end a connection at any time."""
        _log.debug("a connection was closed before its request was complete", exc_info=True)
