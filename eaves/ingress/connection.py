"""One connection: its TLS handshake, its requests in sequence, and their responses."""

from __future__ import annotations

import io
import logging
import re
import secrets
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from eaves.base.timed_reader import TimedReader
from eaves.errors import EavesError
from eaves.ingress.memory import MemoryReservation
from eaves.ingress.request import (
    CHUNKED,
    PIECE_BYTES,
    BrokenOffError,
    Caller,
    Request,
    Response,
    answer_error,
    answer_problem,
    check_size,
    parse_headers,
    read_body,
)
from eaves.origin import HINT, find_foreign

if TYPE_CHECKING:
    from eaves.ingress.server import IngressServer

HANDSHAKE_S = 10.0
BODY_S = 300.0
"""Time limit for a whole body, seconds: enough for 2 MB over 60 kbit/s."""
LINGER_S = 5.0
"""Time that a sender has to send the rest of a refused body, seconds. When the connection is closed before, the kernel
resets it and the response is lost. Source: RFC 9112, section 9.6."""
LINE_BYTES = 8_192
"""Maximum length of the request line, bytes. Source: RFC 9112, section 3, names 8,000 as the minimum."""
HEAD_BYTES, HEADERS = 65_536, 100
"""Maximum size of the request line and all headers together, bytes, and maximum number of headers; several times what
servers and proxies accept (nginx: 32 KB)."""
REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\x00-\x20\x7f]+) HTTP/1\.([01])")
"""A request line. Source: RFC 9112, section 3."""
OTHER_VERSION = re.compile(r"[A-Z]+ [^ ]+( HTTP/[0-9.]+)?")
"""A request line of another version, HTTP/0.9 among them."""
WITHOUT_LENGTH = frozenset({204, 304})
"""Statuses whose response has no body and no Content-Length. Source: RFC 9110, sections 8.6 and 15.4.5."""

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


class RefusedError(EavesError):
    """A request whose head is refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.http_status = status  # type: ignore[misc]


class Connection:
    """One connection, whose thread reads requests and answers them until the client or the server closes it.

    Args:
        server: Server that has accepted the connection.
        connection: Socket of the connection.
        address: Network address of the peer; empty for a Unix socket.
    """

    def __init__(self, server: IngressServer, connection: socket.socket, address: str) -> None:
        self._server = server
        self._limits = server.limits
        self._socket = connection
        self._address = address
        self.caller = Caller(address=address)
        self._incoming = TimedReader(connection)
        self._stream = io.BufferedReader(self._incoming, PIECE_BYTES)  # an image arrives in one or two reads
        self._is_admitted = self._is_broken = self._closes = self._expects_continue = self._is_http_1_0 = False

    def run(self) -> None:
        """Answer requests in sequence.

        Raises:
            OSError: When the peer ends the connection, or is too slow.
        """
        if isinstance(self._socket, ssl.SSLSocket):
            self._shake_hands(self._socket)
        idle_s = self._limits.headers_s
        while not self._closes:
            self._incoming.limit(stall_s=idle_s, total_s=idle_s)
            if not self._stream.peek(1):
                return
            try:
                self._answer_one()
            except EavesError as error:  # of the head
                self._closes = True
                self._send(answer_error(error))
                self._linger()
            if self._is_admitted:
                self._server.mark(self._socket, is_busy=False)
                idle_s = self._limits.idle_s

    def _shake_hands(self, connection: ssl.SSLSocket) -> None:
        """Make the TLS handshake; one that the peer breaks off, such as a test of the port, isn't counted as failed."""
        connection.settimeout(HANDSHAKE_S)
        try:
            connection.do_handshake()
        except ssl.SSLEOFError:
            raise
        except ssl.SSLError as error:
            self._server.count_handshake(self._address, error.reason or str(error))
            raise
        self.caller = Caller(address=self._address, names=list_names(connection.getpeercert() or {}))

    def _answer_one(self) -> None:
        """Read a request and answer it.

        Raises:
            EavesError: When its head is refused.
        """
        self._closes, self._is_http_1_0 = True, False
        self._incoming.limit(stall_s=self._limits.headers_s, total_s=self._limits.headers_s)
        line, *fields = self._read_head()
        found = REQUEST_LINE.fullmatch(line)
        if found is None and OTHER_VERSION.fullmatch(line):
            raise RefusedError(505, "only HTTP/1.1 is supported")
        if found is None:
            raise RefusedError(400, f"the request line {line[:40]!r} is malformed")
        headers = parse_headers(fields)
        self._is_http_1_0 = found[3] == "0"
        kept = headers.get("connection", "keep-alive" if not self._is_http_1_0 else "").lower()
        with self._server.budget.share() as share:
            request = Request(self, found[1], found[2], headers, share)
            if self._is_http_1_0 and request.length == CHUNKED:
                raise RefusedError(400, "a request of HTTP/1.0 can't have a body in chunks")
            self._expects_continue = not request.is_read and headers.get("expect", "").lower() == "100-continue"
            response = self._serve(request)
        if self._is_broken:
            return
        # The rest of a body must not be read as the next request.
        may_stay = self._limits.keep_alive and request.is_read and request.admitted
        self._closes = not may_stay or "close" in kept or (self._is_http_1_0 and "keep-alive" not in kept)
        self._send(response, with_body=request.method != "HEAD")
        if not request.is_read:
            self._linger()

    def _read_head(self) -> list[str]:
        """Read the request line and the headers.

        Raises:
            RefusedError: When they are too long, or a line doesn't end with CR and LF.
            ConnectionError: When the connection ends within them.
        """
        lines: list[str] = []
        left = HEAD_BYTES
        while True:
            line = self._stream.readline(min(left, HEAD_BYTES if lines else LINE_BYTES) + 1)
            left -= len(line)
            if not lines and len(line) > LINE_BYTES:
                raise RefusedError(414, f"the request line has more than {LINE_BYTES} bytes")
            if left < 0 or len(lines) > HEADERS + 1:
                raise RefusedError(
                    431, f"the request has more than {HEADERS} headers, or headers of more than {HEAD_BYTES} bytes"
                )
            if not line.endswith(b"\n"):
                raise ConnectionError("the connection ended within a request")
            if not line.endswith(b"\r\n"):
                raise RefusedError(400, "a line of the request's head doesn't end with CR and LF")
            if line != b"\r\n":
                lines.append(line[:-2].decode("latin-1"))
            elif lines:  # an empty line before a request is passed over. Source: RFC 9112, section 2.2
                return lines

    def _serve(self, request: Request) -> Response:
        if self._server.programs_only:
            headers = request.headers
            if reason := find_foreign(headers.get("host", ""), headers.get("origin")):
                return answer_problem(403, reason, HINT)
        try:
            return self._server.serve(request)
        except EavesError as error:
            return answer_error(error)
        except Exception:  # noqa: BLE001 - later requests must still be answered
            error_id, about = secrets.token_hex(6), f"{request.method} {request.path[:128]}"
            message = "the request %s failed while it was answered, error %s"
            _log.exception(message, about, error_id, extra={"error_id": error_id})
            return answer_problem(500, f"unexpected error {error_id}", "find this id in the log", kind="internal")

    def admit(self) -> None:
        """Note that a route has accepted the caller."""
        self._is_admitted = True
        self._server.mark(self._socket, is_busy=True)

    def read(self, length: int | None, share: MemoryReservation, *, max_bytes: int, gzipped: bool) -> bytes:
        """Return the unpacked body of the current request; see `Request.read_body`."""
        check_size(length or 0, max_bytes)  # before the sender is asked for the body
        self._incoming.limit(stall_s=self._limits.stall_s, total_s=BODY_S)
        try:
            if self._expects_continue:
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return read_body(self._stream, length, max_bytes=max_bytes, take=share, gzipped=gzipped)
        except OSError as error:
            self._is_broken = True  # there is no one to answer
            raise BrokenOffError(str(error)) from error

    def _send(self, response: Response, *, with_body: bool = True) -> None:
        headers = {"Server": "eaves", "Date": formatdate(usegmt=True), **response.headers}
        if response.status not in WITHOUT_LENGTH:
            headers["Content-Length"] = str(len(response.body))
        if self._closes:
            headers["Connection"] = "close"
        elif self._is_http_1_0:
            headers["Connection"] = "keep-alive"
        try:
            phrase = HTTPStatus(response.status).phrase
        except ValueError:
            phrase = ""
        # A line break in a value would begin another header.
        fields = [f"{name}: {' '.join(value.splitlines())}" for name, value in (*headers.items(), *response.repeated)]
        head = "\r\n".join([f"HTTP/1.1 {response.status} {phrase}", *fields, "", ""]).encode("latin-1", "replace")
        self._write(head + response.body if with_body else head)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        self._socket.settimeout(self._limits.stall_s)
        for start in range(0, len(view), PIECE_BYTES):
            self._socket.sendall(view[start : start + PIECE_BYTES])

    def _linger(self) -> None:
        """Read and discard what the sender still sends, so that it can read its response.

        The data isn't decrypted: the standard library's TLS methods can read nothing after `shutdown`.
        """
        deadline = time.monotonic() + LINGER_S
        plain: Any = socket.socket
        plain.shutdown(self._socket, socket.SHUT_WR)
        while (left_s := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            if not plain.recv(self._socket, PIECE_BYTES):
                return


def list_names(certificate: Mapping[str, Any]) -> frozenset[str]:
    """Return the common name and the DNS names of a certificate.

    Args:
        certificate: Result of `ssl.SSLSocket.getpeercert`; empty without a certificate.
    """
    subject = [pair for group in certificate.get("subject", ()) for pair in group]
    common = [value for name, value in subject if name == "commonName"]
    return frozenset([*common, *(value for name, value in certificate.get("subjectAltName", ()) if name == "DNS")])
