"""The local platform's servers, on a TCP port or a Unix socket: their ports, routes, and the access token."""

from __future__ import annotations

import errno
import hmac
import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from eaves.admin.report import QUEUES, to_json
from eaves.admin.server import answer_metrics, answer_queue
from eaves.base.files import write_atomically
from eaves.credentials import check_private
from eaves.errors import ConfigError, ForbiddenError, OverloadedError, PlatformError, StorageError
from eaves.events import decode
from eaves.ingress import IngressLimits, IngressServer, Request, Response, answer_error, answer_json, answer_problem
from eaves.ingress.request import Serve
from eaves.local.broker import read_trace
from eaves.origin import HINT, find_foreign, is_same_site

if TYPE_CHECKING:
    from eaves.local.supervisor import Supervisor


HOST = "127.0.0.1"
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with the address that the user has chosen
"""IP addresses with which a server listens on every IPv4 address of the machine, and on every address."""
MAX_BODY_BYTES = 32_000_000
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


def bind_port(host: str, port: int) -> socket.socket:
    """Create a socket that is bound to a TCP port and doesn't listen yet.

    Args:
        host: IP address of this machine.
        port: Port number; 0 for a free one.
    """
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # even when connections to it ended just now
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host not in EVERY_ADDRESS))
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def bind_ports(host: str, port: int) -> list[socket.socket]:
    """Bind the platform's port on loopback and, for an address off loopback, on that address, with the same number.

    Raises:
        PlatformError: When the port can't be used.
    """
    bound: list[socket.socket] = []
    for one in [host] if host in (HOST, *EVERY_ADDRESS) else [HOST, host]:
        number = bound[0].getsockname()[1] if bound else port
        try:
            bound.append(bind_port(one, number))
        except OSError as error:
            raise build_port_error(error, f"{one} port {number}" if bound else f"port {number}") from error
    return bound


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
    """A running server of the platform, on a socket that is bound (`listening`) or a Unix socket (`path`)."""

    def __init__(self, serve: Serve, **address: Any) -> None:
        super().__init__(serve, limits=LIMITS, name="platform", **address)


RETRY_AFTER_S = "1"
FUNCTIONS, RELAYS = "/functions", "/relays"
"""Routes whose paths have a further part: the name of an app."""
_FOR_PEOPLE = (
    "This address takes CloudEvents by POST. `eaves up` prints the console's address; `eaves events --follow` shows "
    "events as they come, `eaves status` shows what runs."
)
_OF_ONE_CONNECTION = frozenset({
    "connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "trailer", "upgrade", "expect", "host",
    "content-length", "server", "date",
})  # fmt: skip
"""HTTP headers that aren't passed on, because they concern one connection."""
_OWN = frozenset({"content-encoding", "origin"})
"""HTTP headers of a request that aren't passed on either: a body is unpacked here, and a function would compare the
origin with its own address."""


class PlatformRoutes:
    """Answers the requests to one address of the platform.

    Args:
        runtime: The supervisor.
        control: Whether to answer control requests; only for a socket that belongs to this user.
        token: Token that every request must have; None when only this machine can reach the address.
    """

    def __init__(self, runtime: Supervisor, *, control: bool = False, token: AccessToken | None = None) -> None:
        self._runtime = runtime
        self._is_control = control
        self._token = token
        self.routes: dict[str, dict[str, Callable[[Request], Response]]] = {
            "/": {"POST": self._publish},
            FUNCTIONS: {"POST": self._invoke},
            RELAYS: {"POST": self._publish},
            "/metrics": {"GET": lambda _: answer_metrics(self._runtime.queue.report())},
        }
        """Functions that answer, by path and method."""
        if control:
            self.routes |= {
                QUEUES: {"POST": self._answer_queue},
                "/images": {"GET": self._send_image},
                "/status": {"GET": self._show_status},
                "/reconcile": {"POST": self._reconcile},
            }

    def _answer_queue(self, request: Request) -> Response:
        return answer_queue(self._runtime.queue, _read_body(request).decode(errors="replace"))

    def __call__(self, request: Request) -> Response:
        """Answer one request; a caller that isn't let in is refused before its body is read."""
        if not self._is_control and (refused := self._refuse(request)) is not None:
            return refused
        request.admit()
        first = "/".join(request.path.split("/")[:2])
        found = self.routes.get(first if first in (FUNCTIONS, RELAYS) else request.path)
        if found is None:
            return answer_problem(404, f"no such endpoint: {request.path[:128]}")
        handle = found.get("GET" if request.method == "HEAD" else request.method)
        if handle is None:
            detail = _FOR_PEOPLE if first == "/" else f"the method {request.method[:16]} is not supported here"
            return answer_problem(405, detail, Allow=", ".join(found))
        try:
            return handle(request)
        except OverloadedError as error:
            return answer_error(error, Retry_After=RETRY_AFTER_S)

    def _refuse(self, request: Request) -> Response | None:
        """Refuse requests of foreign web pages, and requests without the token.

        Raises:
            ForbiddenError: When the request comes from a foreign web page.
        """
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if self._token is None:
            if reason := find_foreign(host, origin):  # sent directly (Origin) or through DNS rebinding (Host)
                raise ForbiddenError(reason, hint=HINT)
            return None
        if not self._token.is_in(request.headers.get("authorization", "")):
            return answer_problem(401, UNAUTHORISED, WWW_Authenticate="Bearer")
        if origin is not None and not is_same_site(host, origin):
            raise ForbiddenError(f"requests from the pages of another site are refused (Origin is {origin[:80]!r})")
        return None

    def _publish(self, request: Request) -> Response:
        headers, relay_of = request.header_fields(), request.path.removeprefix(RELAYS)[1:]
        self._runtime.accept(decode(headers, _read_body(request)), read_trace(headers), relay_of=relay_of)
        return Response(status=202)

    def _invoke(self, request: Request) -> Response:
        left_out = _OF_ONE_CONNECTION | _OWN | ({"authorization"} if self._token is not None else set())
        passed = {name: value for name, value in request.headers.items() if name.lower() not in left_out}
        answer = self._runtime.forward(request.path.removeprefix(f"{FUNCTIONS}/"), passed, _read_body(request))
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_ONE_CONNECTION}
        return Response(status=answer.status, headers=kept, body=answer.body)

    def _send_image(self, request: Request) -> Response:
        """Send the encoded image of an event; the query has source and id, exactly as the event has them."""
        wanted = dict(parse_qsl(request.query, keep_blank_values=True))
        event = self._runtime.images.find(wanted.get("source", ""), wanted.get("id", ""))
        if event is None:
            return answer_problem(404, "the image is not held any more")
        # The sender's own type proves nothing.
        return Response(status=200, headers={"Content-Type": "application/octet-stream"}, body=event.data)

    def _show_status(self, _: Request) -> Response:
        return answer_json(to_json(self._runtime.status()))

    def _reconcile(self, _: Request) -> Response:
        return answer_json({"failed": self._runtime.reconcile()})


def _read_body(request: Request) -> bytes:
    """Return the body; an event without data may have neither a length nor chunks."""
    return b"" if request.is_read else request.read_body(MAX_BODY_BYTES)


TOKEN_BYTES = 32
"""Number of random bytes in a generated token; their base64 text has 43 characters."""
MIN_CHARACTERS = 16
"""Minimum length of a token that a user has written, characters. 16 random characters of base64 have 96 bits."""
MAX_FILE_BYTES = 4096
"""Maximum size of a token file, bytes, so that a wrong file isn't read into memory at each request."""
TOKEN_PATTERN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
"""Characters of a bearer token. Source: RFC 6750, section 2.1, b64token."""
SCHEME = "bearer"
UNAUTHORISED = "requests to this address need the platform's token: Authorization: Bearer TOKEN"


class AccessToken:
    """A token in a file, which is read at each request: replacing the file replaces the token at once.

    Connections from 127.0.0.1 need the token too, because a program on this machine that forwards TCP connections
    makes every caller look like one of this machine.

    Args:
        path: Path of the file; when missing, it is created with a random token, readable only by this user.

    Attributes:
        path: Absolute path of the file.

    Raises:
        ConfigError: When users other than its owner may read the file, or when it holds no valid token.
        StorageError: When the file can't be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            created = not path.exists()
            if created:
                write_atomically(path, secrets.token_urlsafe(TOKEN_BYTES) + "\n")
            _check_file(path)
        except OSError as error:
            action = "created" if created else "read"
            message = f"{path}: the token file can't be {action}: {error.strerror or error}"
            raise StorageError(message, hint=f"ls -ld {path.parent} {path}") from error

    def is_in(self, authorization: str) -> bool:
        """Return whether an Authorization header has the token. An unreadable or empty file admits no caller."""
        scheme, _, given = authorization.partition(" ")
        try:
            wanted = _read(self.path)
        except OSError:
            return False
        matches = hmac.compare_digest(given.strip().encode(), wanted)
        return bool(wanted) and scheme.lower() == SCHEME and matches


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_FILE_BYTES).strip()


def _check_file(path: Path) -> None:
    """Check that only the owner of a token file may read it, and that it holds a valid token.

    Raises:
        ConfigError: When users other than its owner may read the file, or when it holds no valid token.
        OSError: When the file can't be read.
    """
    check_private(path, setting="token_file")
    token = _read(path)
    if len(token) < MIN_CHARACTERS or not TOKEN_PATTERN.fullmatch(token):
        found = f"holds no token: one line of at least {MIN_CHARACTERS} letters, digits or . _ ~ + / - is needed"
        raise ConfigError.single(
            "eaves up",
            "token_file",
            f"{path} {found}",
            hint=f"rm {path}   # `eaves up` then creates it with a random token",
        )
