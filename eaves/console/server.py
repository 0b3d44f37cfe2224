"""The server of the console's pages."""

from __future__ import annotations

import socket
import threading
import time

from flask import Flask

from eaves.ingress import IngressLimits, IngressServer, Request, Response, ServerTls
from eaves.ingress.wsgi import WsgiGateway

MAX_BYTES = 20_000_000
"""Maximum size of a request's body, such as a photo, bytes; the app has lower limits for most pages."""
STRANGER_BYTES = 65_536
"""Maximum size of the body of a caller that isn't logged in, bytes."""
CONNECTIONS = 256
"""Maximum number of connections. A browser opens up to 6, and the longest idle one gives way."""
IDLE_S = 5.0
"""Time that a connection stays open after a response, seconds: it covers the images of a page, and the two seconds
until an open page asks again. Each connection has a thread, and opening another one costs a browser less than a
millisecond."""


class ConsoleServer:
    """A running console.

    Args:
        app: Flask app of the console.
        host: Address of this machine to listen on.
        port: TCP port; 0 takes a free one.
        listening: A TCP socket that listens already, in place of host and port.
        tls: Certificates; None for plain HTTP.

    Raises:
        ConfigError: When the server can't listen on the address.
    """

    def __init__(
        self,
        app: Flask,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        listening: socket.socket | None = None,
        tls: ServerTls | None = None,
    ) -> None:
        self._gateway = WsgiGateway(
            app,
            scheme="http" if tls is None else "https",
            max_bytes=MAX_BYTES,
            stranger_bytes=STRANGER_BYTES,
        )
        limits = IngressLimits(
            max_bytes=MAX_BYTES, in_flight_bytes=2 * MAX_BYTES, connections=CONNECTIONS, idle_s=IDLE_S
        )
        self._lock = threading.Lock()
        self._running = 0
        self._ended_at = time.monotonic()
        self._server = IngressServer(
            self._answer, limits=limits, host=host, port=port, listening=listening, tls=tls, name="console"
        )

    @property
    def port(self) -> int:
        """TCP port."""
        return self._server.port

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return self._server.connections

    def idle_s(self) -> float:
        """Return the time since the last request ended, seconds; 0 while one runs."""
        with self._lock:
            return 0.0 if self._running else time.monotonic() - self._ended_at

    def is_alive(self) -> bool:
        """Return whether the server accepts connections."""
        return self._server.is_alive()

    def stop(self) -> None:
        """Stop listening and close every connection. A socket that was given listens on in its own process."""
        self._server.stop()

    def _answer(self, request: Request) -> Response:
        with self._lock:
            self._running += 1
        try:
            return self._gateway(request)
        finally:
            with self._lock:
                self._running -= 1
                self._ended_at = time.monotonic()
