"""One connection: its TLS handshake, its requests in sequence, and their responses."""

from __future__ import annotations

import io
import logging
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from eaves.errors import EavesError, EventError
from eaves.ingress.body import PIECE_BYTES, read_body
from eaves.ingress.connections import ConnectionState
from eaves.ingress.framing import Framing, parse_framing
from eaves.ingress.head_reader import HEAD_BYTES, HeadReader
from eaves.ingress.memory import MemoryBudget, MemoryReservation
from eaves.ingress.request import Caller, Request
from eaves.ingress.response import Response, TakeOver, answer_error, answer_problem
from eaves.ingress.timed_reader import TimedReader
from eaves.web.origin import HINT, find_foreign

if TYPE_CHECKING:
    from eaves.ingress.server import ListeningSocket

HANDSHAKE_S = 10.0
BODY_S = 300.0
"""Time limit for a whole body, seconds: enough for 2 MB over 60 kbit/s."""
LINGER_S = 5.0
"""Time that a sender has to send the rest of a refused body, seconds. When the connection is closed before, the kernel
resets it and the response is lost. Source: RFC 9112, section 9.6."""
LINE_BYTES = 8_192
"""Maximum length of the request line, bytes. Source: RFC 9112, section 3, names 8,000 as the minimum."""
WITHOUT_LENGTH = frozenset({204, 304})
"""Statuses whose response has no body and no Content-Length. Source: RFC 9110, sections 8.6 and 15.4.5."""

_log = logging.getLogger(__name__)


class IngressConnection(BaseHTTPRequestHandler):
    """Reads requests and answers them until the client or the server closes the connection."""

    protocol_version = "HTTP/1.1"
    server: ListeningSocket
    request: socket.socket

    def setup(self) -> None:
        """Prepare to read the socket with time limits."""
        self.connection = self.request
        self._incoming = TimedReader(self.connection)
        self._buffered = self.rfile = io.BufferedReader(self._incoming)
        self._names: frozenset[str] = frozenset()
        self._state = ConnectionState.NEW

    def finish(self) -> None:
        """Leave the socket open; the server closes it."""

    def handle(self) -> None:
        """Answer requests in sequence."""
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.settimeout(HANDSHAKE_S)
            self._shake_hands(self.connection)
            self._names = list_names(self.connection.getpeercert() or {})
        while self._answer_one():
            pass

    def _shake_hands(self, connection: ssl.SSLSocket) -> None:
        """Make the TLS handshake.

        A connection that closes during the handshake, such as one that only tests the port, isn't counted as failed.
        """
        try:
            connection.do_handshake()
        except ssl.SSLEOFError:
            raise
        except ssl.SSLError as error:
            self.server.handshakes.add(str(self.client_address[0]), error.reason or str(error))
            raise

    def handle_expect_100(self) -> bool:
        """Postpone `100 Continue` until a route reads the body."""
        self._expects_word = True
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request whose request line or headers the standard library rejects."""
        self.close_connection = True
        if code == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            message = f"the request has more than 100 headers, or headers of more than {HEAD_BYTES} bytes"
        status = 505 if code == HTTPStatus.HTTP_VERSION_NOT_SUPPORTED else code
        self._send(answer_problem(status, message or "the request is malformed"))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Log nothing, because otherwise each event would write a line."""

    def _answer_one(self) -> bool:
        """Wait for a request and answer it; return whether another one may follow."""
        if self._state is not ConnectionState.NEW:
            self._mark(ConnectionState.IDLE)
        limits = self.server.limits
        idle_s = limits.headers_s if self._state is ConnectionState.NEW else limits.idle_s
        self._incoming.limit(stall_s=idle_s, total_s=idle_s)
        if not self._buffered.peek(1):
            return False
        self._incoming.limit(stall_s=limits.headers_s, total_s=limits.headers_s)
        self._expects_word = False
        self.command = self.requestline = ""
        self.request_version = self.protocol_version
        head: Any = HeadReader(self._buffered)
        self.raw_requestline = head.readline(LINE_BYTES + 1)
        if len(self.raw_requestline) > LINE_BYTES:
            self.send_error(414, f"the request line has more than {LINE_BYTES} bytes")
        elif self._parse(head):
            if self.request_version == "HTTP/0.9":
                self.send_error(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.1 is supported")
            else:
                self._serve()
        return not self.close_connection

    def _parse(self, head: Any) -> bool:
        """Read the headers; return whether they are well-formed. `parse_request` reads them from `rfile`."""
        self.rfile = head
        try:
            return self.parse_request()
        finally:
            self.rfile = self._buffered

    def _serve(self) -> None:
        """Answer a request whose headers have been read."""
        if not self.server.limits.keep_alive:
            self.close_connection = True
        with self.server.budget.share() as share:
            try:
                framing = parse_framing(self.headers)
            except EventError as error:
                self.close_connection = True
                self._send(answer_error(error))
                self._linger()
                return
            request = Request(
                method=self.command,
                target=self.path,
                headers=self.headers,
                caller=Caller(address=str(self.client_address[0]), names=self._names),
                framing=framing,
                read=partial(self._read, framing, share),
                take=share,
                on_admit=partial(self._admit, share),
            )
            response = self._ask(request)
        # The rest of a body must not be read as the next request.
        self.close_connection |= not request.is_read or not request.admitted
        self._send(response)
        if not request.is_read:
            self._linger()

    def _ask(self, request: Request) -> Response:
        if self.server.programs_only:
            headers = request.headers
            if reason := find_foreign(headers.get("host", ""), headers.get("origin")):
                return answer_problem(403, reason, HINT)
        try:
            return self.server.serve(request)
        except EavesError as error:
            return answer_error(error)
        except ConnectionBrokenError:
            raise
        except Exception:  # noqa: BLE001 - later requests must still be answered
            _log.exception("the request %s %s failed while it was answered", request.method, request.path[:128])
            return answer_problem(500, "unexpected error; see the log", kind="internal")

    def _admit(self, share: MemoryReservation, owner: str, budget: MemoryBudget | None) -> None:
        share.assign(owner, budget)
        self._mark(ConnectionState.BUSY)

    def _read(self, framing: Framing, share: MemoryReservation, max_bytes: int, gzipped: bool) -> bytes:
        self._incoming.limit(stall_s=self.server.limits.stall_s, total_s=BODY_S, in_hurry=share.is_short)
        try:
            if self._expects_word and framing.has_body:
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return read_body(self.rfile, framing, max_bytes=max_bytes, take=share, gzipped=gzipped)
        except OSError as error:
            raise ConnectionBrokenError(str(error)) from error

    def _mark(self, state: ConnectionState) -> None:
        self._state = state
        self.server.connections.mark(self.connection, state)

    def _send(self, response: Response) -> None:
        if response.take_over is not None:
            self._hand_over(response, response.take_over)
            return
        body = b"" if self.command == "HEAD" else response.body
        self._write(self._build_head(response) + body)

    def _hand_over(self, response: Response, take_over: TakeOver) -> None:
        """Pass the socket to another owner; this connection neither reads, writes nor closes it afterwards."""
        self.close_connection = True
        head = self._build_head(response)
        self.server.release(self.connection)
        take_over(self.connection, head)

    def _build_head(self, response: Response) -> bytes:
        headers = {"Server": "eaves", "Date": self.date_time_string(), **response.headers}
        if response.take_over is None and response.status not in WITHOUT_LENGTH:
            headers["Content-Length"] = str(len(response.body))
        if self.close_connection:
            headers["Connection"] = "close"
        elif self.request_version == "HTTP/1.0":
            headers["Connection"] = "keep-alive"
        try:
            phrase = HTTPStatus(response.status).phrase
        except ValueError:
            phrase = ""
        fields = _fields([*headers.items(), *response.repeated])
        return "\r\n".join([f"HTTP/1.1 {response.status} {phrase}", *fields, "", ""]).encode("latin-1", "replace")

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        self.connection.settimeout(self.server.limits.stall_s)
        for start in range(0, len(view), PIECE_BYTES):
            self.connection.sendall(view[start : start + PIECE_BYTES])

    def _linger(self) -> None:
        """Read and discard what the sender still sends, so that it can read its response.

        The data isn't decrypted: the standard library's TLS methods can read nothing after `shutdown`.
        """
        deadline = time.monotonic() + LINGER_S
        plain: Any = socket.socket
        plain.shutdown(self.connection, socket.SHUT_WR)
        while (left_s := deadline - time.monotonic()) > 0:
            self.connection.settimeout(left_s)
            if not plain.recv(self.connection, PIECE_BYTES):
                return


class ConnectionBrokenError(Exception):
    """The peer has closed the connection or is too slow, so there is no one to answer."""


def list_names(certificate: Mapping[str, Any]) -> frozenset[str]:
    """Return the common name and the DNS names of a certificate.

    Args:
        certificate: Result of `ssl.SSLSocket.getpeercert`; empty without a certificate.
    """
    subject = [pair for group in certificate.get("subject", ()) for pair in group]
    common = [value for name, value in subject if name == "commonName"]
    return frozenset([*common, *(value for name, value in certificate.get("subjectAltName", ()) if name == "DNS")])


def _fields(headers: Iterable[tuple[str, str]]) -> list[str]:
    """Return the header lines; a line break in a value would begin another header, so it becomes a space."""
    return [f"{name}: {' '.join(value.splitlines())}" for name, value in headers]
