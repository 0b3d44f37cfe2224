"""The local platform's web servers: waitress in a thread, on a TCP port or a Unix socket.

A server must not end while the platform runs: when its loop fails or its socket is lost, it listens again.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from flask import Flask
from waitress.server import create_server
from waitress.utilities import Error

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock, StopFlag
from eaves.local.access_token import UNAUTHORISED, AccessToken
from eaves.local.routes import MAX_BODY_BYTES
from functions.http.connection import HttpConnection
from functions.http.thread_pool import ThreadPool

HOST = "127.0.0.1"
CONNECTIONS = 1000
IDLE_S = 30
"""Seconds after which an idle connection is closed, so that forgotten ones don't use up all there are."""
THREADS = 32
"""Requests at the same time; each holds its image while it waits for a function. Their threads are made when needed."""
READ_TIMEOUT_S, MIN_RATE_BYTES_S = 30.0, 16_000
"""As a function has them by default: seconds of silence within a request, and the bytes that give it one more."""
RECEIVE_BYTES = 262_144
"""Bytes that are taken from a connection at once: a photo in one or two rounds of the loop. waitress takes 8 KB, and
each round costs a look at every connection."""
ROOM_BYTES = 10 * MAX_BODY_BYTES
"""Memory for all bodies under way; beyond it a sender is asked to come again, with 429."""
POLL_S = 1.0
"""Longest round of a server's loop: how often it looks for idle connections."""
BACKOFF = Backoff(retry=None, first_s=0.2, cap_s=30.0)
"""Pauses between attempts to listen again."""

_log = logging.getLogger(__name__)


class ServerAddress(Protocol):
    """An address that a server listens on."""

    def bind(self) -> socket.socket:
        """Make a socket that is bound and doesn't listen yet.

        Raises:
            OSError: When the address can't be used.
        """

    def release(self) -> None:
        """Leave nothing of it behind."""


class TcpPort:
    """A TCP port, on loopback unless another address is named.

    Args:
        port: Number of the port; 0 for a free one.
        host: Address of this machine.

    Attributes:
        port: Number of the port; 0 until a free one is chosen by the first `bind`, and kept from then on.
    """

    def __init__(self, port: int, host: str = HOST) -> None:
        self.port = port
        self._host = host

    def bind(self) -> socket.socket:
        """Bind it."""
        made = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # despite connections that just ended
            made.bind((self._host, self.port))
        except OSError:
            made.close()
            raise
        self.port = int(made.getsockname()[1])
        return made

    def release(self) -> None:
        """Do nothing: the kernel takes it back."""


class SocketPath:
    """A Unix socket of mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def bind(self) -> socket.socket:
        """Bind it; nobody can connect before it listens, and then only its owner."""
        self._path.unlink(missing_ok=True)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.bind(str(self._path))
            self._path.chmod(0o600)
        except OSError:
            made.close()
            raise
        return made

    def release(self) -> None:
        """Remove it."""
        self._path.unlink(missing_ok=True)


class WebServer:
    """waitress in a thread of this process; it listens again when it loses its socket.

    Args:
        app: Answers.
        address: Address to listen on.
        token: What a request must bring before its body is read; None: anybody's is.
        clock: Clock for pauses.

    Attributes:
        address: Address that it listens on.

    Raises:
        OSError: When the address can't be used.
    """

    def __init__(
        self, app: Flask, address: ServerAddress, *, token: AccessToken | None = None, clock: Clock = SYSTEM
    ) -> None:
        self.address = address
        self._token = token
        self._app = app
        self._map: dict[int, Any] = {}
        self._stopping = StopFlag(clock)
        self._turn = threading.Lock()
        self._server = self._listen()
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; requests in flight get a moment."""
        self._stopping.set()
        with self._turn:
            if self._server is not None:
                self._server.pull_trigger()
        self._thread.join()
        self.address.release()

    def _listen(self) -> Any:
        bound = self.address.bind()
        try:
            made = create_server(
                self._app,
                map=self._map,
                sockets=[bound],
                _dispatcher=ThreadPool(THREADS),
                connection_limit=CONNECTIONS,
                channel_timeout=IDLE_S,
                max_request_body_size=MAX_BODY_BYTES,
                recv_bytes=RECEIVE_BYTES,
                inbuf_overflow=MAX_BODY_BYTES + 1,
                outbuf_overflow=MAX_BODY_BYTES + 1,
                ident=None,
                clear_untrusted_proxy_headers=True,
            )
            _harden(made, self._token)
        except BaseException:
            bound.close()
            raise
        return made

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                if self._server is None:
                    self._server = self._listen()
                    _log.info("the web server listens again")
                failures = 0
                self._serve()
            except Exception:  # noqa: BLE001 - without its thread nothing would listen again
                failures += 1
                _log.exception("the web server failed; it listens again in a moment")
                self._close(wait_s=0)
                self._stopping.wait(BACKOFF.pause_s(failures))
        self._close(wait_s=2)

    def _serve(self) -> None:
        """Serve until it is to stop.

        Raises:
            OSError: When the listening socket is gone: waitress closes it after an error and polls on without it.
        """
        looked_at = time.monotonic()
        while not self._stopping.is_set():
            self._server.asyncore.loop(timeout=POLL_S, map=self._map, use_poll=True, count=1)
            now = time.monotonic()
            if now - looked_at >= POLL_S:
                looked_at = now
                for connection in list(self._server.active_channels.values()):
                    connection.expire(now, timeout_s=READ_TIMEOUT_S, min_rate_bytes_s=MIN_RATE_BYTES_S)
            if not self._server.accepting:
                raise OSError("the listening socket was closed")

    def _close(self, *, wait_s: float) -> None:
        with self._turn:
            server, self._server = self._server, None
        if server is None:
            return
        server.task_dispatcher.shutdown(cancel_pending=True, timeout=wait_s)
        with contextlib.suppress(OSError):
            server.asyncore.loop(timeout=0.0, map=self._map, use_poll=True, count=2)  # answers that are ready
        server.asyncore.close_all(map=self._map, ignore_all=True)


class Unauthorised(Error):  # type: ignore[misc]  # noqa: N818 - named as waitress names its own
    """A request without the token."""

    code = 401
    reason = "Unauthorized"


class OpenConnection(HttpConnection):
    """A connection of whoever reaches a port off loopback: without the token its request's body isn't read."""

    def received(self, data: bytes) -> bool:
        """Take in what has arrived, as far as its sender may send it."""
        taken = super().received(data)
        request = self.request
        has_head = request is not None and request.headers_finished
        if has_head and not self.server.token.is_in(request.headers.get("AUTHORIZATION", "")):
            self.refuse(Unauthorised(UNAUTHORISED))
        return taken


def _harden(server: Any, token: AccessToken | None) -> None:
    """Have connections read as a function reads them.

    What two readers could understand differently is refused, each refusal is a problem document, and its sender can
    read it before the connection is closed.
    """
    server.channel_class = HttpConnection if token is None else OpenConnection
    server.token = token
    server.draining = False
    server.has_room = partial(_has_room, server)
    server.refused = lambda status, kind: _log.info("refused a request with %d (%s)", status, kind)


def _has_room(server: Any, _: HttpConnection) -> bool:
    """Whether the bodies under way fit into memory."""
    connections: list[HttpConnection] = list(server.active_channels.values())
    return sum(connection.held_bytes for connection in connections) <= ROOM_BYTES
