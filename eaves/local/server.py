"""Web servers of the local platform: waitress in a thread, on a TCP port or a Unix socket.

A server runs as long as the platform: when its loop fails or its socket is lost, it listens again.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
from collections.abc import Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol

from flask import Flask
from waitress.utilities import Error

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock, StopFlag
from eaves.errors import PlatformError
from eaves.local.access_token import UNAUTHORISED, AccessToken
from eaves.local.processes.port_holder import find_port_holder
from eaves.local.routes import MAX_BODY_BYTES
from functions.http.connection import HttpConnection
from functions.http.listener import Listener, ListenerLimits, TcpListener, UnixListener

HOST = "127.0.0.1"
EVERY_ADDRESS = "::"
"""IP address with which a server listens on every IPv6 and IPv4 address of the machine."""
LIMITS = ListenerLimits(
    max_body_bytes=MAX_BODY_BYTES,
    max_buffered_bytes=10 * MAX_BODY_BYTES,
    read_timeout_s=30.0,
    min_rate_bytes_s=16_000,
    threads=32,
    connections=1000,
    probe_threads=8,
    read_bytes=262_144,
)
"""Limits of the local platform's servers. Times are those of a function; numbers are higher, because one server passes
on the requests for all functions, each thread holds an image while it waits for a function, and a GET on the control
socket asks each agent. Fewer and larger reads mean fewer rounds of the loop, each of which checks every connection."""
POLL_S = 1.0
"""Maximum time between two checks of a server's loop whether it must stop, seconds."""
BACKOFF = Backoff(retry=None, first_s=0.2, cap_s=30.0)
"""Pauses between attempts to listen again after a server has lost its socket."""

_log = logging.getLogger(__name__)


class ServerAddress(Protocol):
    """An address that a server listens on."""

    def bind(self) -> socket.socket:
        """Create a socket that is bound and doesn't listen yet.

        Raises:
            OSError: When the address can't be used.
        """

    def release(self) -> None:
        """Remove what the address leaves on disk, such as the file of a Unix socket."""


class TcpPort:
    """A TCP port, on loopback unless another address is given.

    Args:
        port: Port number; 0 for a free one.
        host: IP address of this machine.

    Attributes:
        port: Port number; 0 until the first `bind` chooses a free one, which is then kept.
    """

    def __init__(self, port: int, host: str = HOST) -> None:
        self.port = port
        self._host = host

    @property
    def is_open(self) -> bool:
        """Whether the port is open on every address of the machine, and not only on one."""
        return ip_address(self._host).is_unspecified

    def bind(self) -> socket.socket:
        """Create a socket that is bound to the port and doesn't listen yet."""
        made = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # even when connections to it ended just now
            if made.family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(self._host != EVERY_ADDRESS))
            made.bind((self._host, self.port))
        except OSError:
            made.close()
            raise
        self.port = int(made.getsockname()[1])
        return made

    def release(self) -> None:
        """Do nothing: the kernel releases the port."""


def build_port_error(error: OSError, address: TcpPort, named: str) -> PlatformError:
    """Build the error about a port that the platform can't listen on; it names the process that uses the port."""
    holder = find_port_holder(address.port) if error.errno == errno.EADDRINUSE else None
    reason = f"it is in use by {holder}" if holder is not None else error.strerror or str(error)
    if error.errno == errno.EADDRNOTAVAIL:
        hint = "--host 0.0.0.0 opens every address of this machine; `ip address` lists them"
    elif holder is not None and holder.state is not None:
        there = f"deploy to the platform that runs already: eaves deploy --state {holder.state}"
        hint = f"run this project beside it, on a free port: `eaves up --port 0`; {there}"
    else:
        hint = "choose a free port with `eaves up --port 0`"
    return PlatformError(f"{named} can't be used: {reason}", hint=hint)


def resolve_host(host: str) -> str:
    """Return the IP address of a host name or of an address of this machine.

    Raises:
        PlatformError: When the name has no address.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = "--host 0.0.0.0 opens every address of this machine; `ip address` lists them"
        raise PlatformError(f"{host!r} is no address of this machine: {reason}", hint=hint) from error
    chosen = min(found, key=lambda one: one[0] != socket.AF_INET)  # `localhost` may be ::1 where IPv6 is switched off
    return str(chosen[4][0])


class SocketPath:
    """A Unix socket that only its owner can connect to (mode 0600)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def bind(self) -> socket.socket:
        """Create a socket that is bound to the path and doesn't listen yet.

        No process can connect before it listens, and then only processes of its owner.
        """
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
        """Delete the socket's file."""
        self._path.unlink(missing_ok=True)


class WebServer:
    """waitress in a thread of this process; it listens again when its socket is lost.

    Args:
        app: WSGI application.
        address: Address to listen on.
        token: Token that requests must have, checked before a body is read; None when no token is needed.
        limits: Limits for the server's connections.
        clock: Clock for pauses.

    Attributes:
        address: Address that the server listens on.

    Raises:
        OSError: When the address can't be used.
    """

    def __init__(
        self,
        app: Flask,
        address: ServerAddress,
        *,
        token: AccessToken | None = None,
        limits: ListenerLimits = LIMITS,
        clock: Clock = SYSTEM,
    ) -> None:
        self.address = address
        self._limits = limits
        self._token = token
        self._app = app
        self._map: dict[int, Any] = {}
        self._stopping = StopFlag(clock)
        self._turn = threading.Lock()
        self._listener: Listener | None = self._listen()
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; requests in flight get a short time to finish."""
        self._stopping.set()
        with self._turn:
            if self._listener is not None:
                self._listener.pull_trigger()
        self._thread.join()
        self.address.release()

    def _listen(self) -> Listener:
        bound = self.address.bind()
        make = UnixListener if bound.family == socket.AF_UNIX else TcpListener
        connection = HttpConnection if self._token is None else partial(OpenConnection, self._token)
        try:
            return make(
                self._app, self._limits, map=self._map, bound=bound, connection=connection, on_refusal=_log_refusal
            )
        except BaseException:
            bound.close()
            raise

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                if self._listener is None:
                    self._listener = self._listen()
                    _log.info("the web server listens again")
                failures = 0
                self._serve(self._listener)
            except Exception:  # noqa: BLE001 - without its thread nothing would listen again
                failures += 1
                _log.exception("the web server failed; it starts again shortly")
                self._close(wait_s=0)
                self._stopping.wait(BACKOFF.pause_s(failures))
        self._close(wait_s=2)

    def _serve(self, listener: Listener) -> None:
        """Serve until the server is stopped.

        Raises:
            OSError: When the listening socket is gone: waitress closes it after an error, and would then run without
                it.
        """
        while not self._stopping.is_set():
            listener.poll(POLL_S)
            if not listener.accepting:
                raise OSError("the listening socket was closed")

    def _close(self, *, wait_s: float) -> None:
        with self._turn:
            listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.stop_threads(wait_s)
        with contextlib.suppress(OSError):
            listener.asyncore.loop(timeout=0.0, map=self._map, use_poll=True, count=2)  # responses that are ready
        listener.asyncore.close_all(map=self._map, ignore_all=True)


class Unauthorised(Error):  # type: ignore[misc]  # noqa: N818 - named as waitress names its own
    """Error for a request without the token."""

    code = 401
    reason = "Unauthorized"


class OpenConnection(HttpConnection):
    """A connection to a port that other machines can reach; a request without the token is refused before its body.

    Args:
        token: Token that requests must have.
    """

    def __init__(self, token: AccessToken, *arguments: Any, **named: Any) -> None:
        self._token = token
        super().__init__(*arguments, **named)

    def received(self, data: bytes) -> bool:
        """Process received bytes, and refuse the request when its headers lack the token."""
        taken = super().received(data)
        request = self.request
        if request is not None and request.headers_finished and not self._admits(request.headers):
            self.refuse(Unauthorised(UNAUTHORISED))
        return taken

    def _admits(self, headers: Mapping[str, str]) -> bool:
        return self._token.is_in(headers.get("AUTHORIZATION", ""))


def _log_refusal(status: int, kind: str) -> None:
    _log.info("refused a request with %d (%s)", status, kind)
