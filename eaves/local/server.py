"""Web servers of the local platform, on a TCP port or a Unix socket."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

from eaves.errors import PlatformError
from eaves.ingress import IngressLimits, IngressServer
from eaves.ingress.request import Serve
from eaves.local.routes import MAX_BODY_BYTES

HOST = "127.0.0.1"
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with the address that the user has chosen
"""IP addresses with which a server listens on every IPv4 address of the machine, and on every address."""
LIMITS = IngressLimits(
    max_bytes=MAX_BODY_BYTES,
    in_flight_bytes=10 * MAX_BODY_BYTES,
    connections=1000,
    idle_s=120.0,
    headers_s=30.0,
)
"""Limits of the local platform's servers, one of which passes on the requests for all functions. Clients close idle
connections after 90 s at most: the sender should close first, because it knows whether it is about to send. Source: Go,
net/http, DefaultTransport.IdleConnTimeout."""


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
        return self._host in EVERY_ADDRESS

    def bind(self) -> socket.socket:
        """Create a socket that is bound to the port and doesn't listen yet."""
        made = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # even when connections to it ended just now
            if made.family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(self._host not in EVERY_ADDRESS))
            made.bind((self._host, self.port))
        except OSError:
            made.close()
            raise
        self.port = int(made.getsockname()[1])
        return made


def build_port_error(error: OSError, named: str) -> PlatformError:
    """Build the error about a port that the platform can't listen on."""
    hint = "choose a free port with `eaves up --port 0`"
    if error.errno == errno.EADDRNOTAVAIL:
        hint = "--host 0.0.0.0 opens every address of this machine; `ip address` lists them"
    elif error.errno == errno.EADDRINUSE:
        hint = "another `eaves up` may have it: run this project beside it, on a free port: `eaves up --port 0`"
    return PlatformError(f"{named} can't be used: {error.strerror or error}", hint=hint)


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


class WebServer(IngressServer):
    """A running server of the platform.

    Args:
        serve: Answers requests.
        address: TCP port, or path of a Unix socket that only its owner can connect to (mode 0600).
        limits: Limits of the server.

    Raises:
        OSError: When the port can't be used.
        ConfigError: When the Unix socket can't be used.
    """

    def __init__(self, serve: Serve, address: TcpPort | Path, *, limits: IngressLimits = LIMITS) -> None:
        where: dict[str, Any] = {"path": address} if isinstance(address, Path) else {"listening": address.bind()}
        super().__init__(serve, limits=limits, name="platform", **where)
