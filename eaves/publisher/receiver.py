"""Takes CloudEvents over HTTP, one a request; the answer is a success once the event is on disk.

A connection takes one request. At most `CONNECTIONS` are open; when all are taken, the oldest is closed for the next
one, so that senders who hold theirs open keep nobody out: a request takes milliseconds, and its sender tries again.
What all of them have sent so far takes a bounded number of bytes; beyond it the answer is 429.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase

from eaves.admin.routes import Response, answer_problem
from eaves.admin.server import POLL_S, TIMEOUT_S, BoundedTcpServer
from eaves.delivery.rules import ACCEPTED
from eaves.errors import ConfigError, EavesError, EventError, Fault, ImageTooLargeError
from eaves.events import Event, decode
from eaves.publisher.room import Room, Take

CONNECTIONS = 64
LINE_BYTES = 1024
"""Longest line that says the size of a chunk."""
PIECE_BYTES = 65_536
"""What is read of a body at a time: memory is taken for what has come, not for what a sender announces."""
LINGER_S = 5.0
"""How long a sender may take to send the rest of a body that was refused, seconds. Its answer is lost when the
connection is closed before: the kernel then resets it. Source: RFC 9112, section 9.6."""

_log = logging.getLogger(__name__)


class Receiver:
    """A running server.

    Args:
        store: Puts one event on disk. What it raises becomes the answer, by its `http_status`.
        host: Address of this machine to listen on.
        port: TCP port; 0 takes a free one.
        max_bytes: Largest body that is taken.
        in_flight_bytes: Bytes of all bodies that are read or stored at the same time; one of `max_bytes` always fits.

    Raises:
        ConfigError: When the address can't be listened on.
    """

    def __init__(
        self, store: Callable[[Event], object], *, host: str, port: int, max_bytes: int, in_flight_bytes: int
    ) -> None:
        room = Room(max(max_bytes, in_flight_bytes))
        handler = type("Handler", (_Handler,), {"store": staticmethod(store), "max_bytes": max_bytes, "room": room})
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            fault = Fault(origin="receiver", path="port", message=f"{host}:{port} can't be listened on: {error}")
            raise ConfigError([fault], hint="choose another port with PORT") from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_S,), name="receiver", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self._server.server_address[1])

    def is_alive(self) -> bool:
        """Whether it takes connections."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop listening and close every connection."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(BoundedTcpServer):
    connections = CONNECTIONS
    request_queue_size = CONNECTIONS


class _Handler(BaseHTTPRequestHandler):
    server_version = "eaves"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S
    store: Callable[[Event], object]
    max_bytes: int
    room: Room

    def do_POST(self) -> None:
        """Take one event."""
        self.close_connection = True
        try:
            response = self._take()
        except EavesError as error:
            response = answer_problem(error.http_status, error.message[:300], error.hint)
        except OSError:
            raise
        except Exception:  # noqa: BLE001 - whoever sends next must be answered
            _log.exception("an event could not be taken")
            response = answer_problem(500, "unexpected error; see the log", None)
        self._respond(response)

    def do_GET(self) -> None:
        """Say what is to be done here instead."""
        self.close_connection = True
        self._respond(answer_problem(405, "only POST is answered here, with a CloudEvent", None))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Log nothing: each event would be a line."""

    def _take(self) -> Response:
        if self.path.partition("?")[0] != "/":
            return answer_problem(404, f"{self.path[:128]} is not answered here; post to /", None)
        with self.room.share() as take:
            body = self._read_body(take)
            self.store(decode(dict(self.headers.items()), body))
        return Response(status=ACCEPTED, content_type="text/plain", body=b"")

    def _read_body(self, take: Take) -> bytes:
        """The request's body.

        Raises:
            EventError: When its length isn't said, or it breaks off.
            ImageTooLargeError: When it is larger than allowed.
            OverloadedError: When there is no memory for it now.
            OSError: When the connection ends.
        """
        if self.headers.get("transfer-encoding", "").strip().lower() == "chunked":
            return read_chunks(self.rfile, self.max_bytes, take)
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdecimal()):
            raise EventError("the request has neither Content-Length nor chunks")
        if int(length) > self.max_bytes:
            raise _too_large(self.max_bytes)
        body = bytearray()
        if not _read_pieces(self.rfile, int(length), body, take):
            raise EventError("the request broke off")
        return bytes(body)

    def _respond(self, response: Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Connection", "close")
        if response.body:
            self.send_header("Content-Type", response.content_type)
        self.end_headers()
        self.wfile.write(response.body)
        if response.status != ACCEPTED:
            self._linger()

    def _linger(self) -> None:
        """Read and forget what the sender still sends, so that it gets to read its answer."""
        deadline = time.monotonic() + LINGER_S
        self.connection.shutdown(socket.SHUT_WR)
        while (left_s := deadline - time.monotonic()) > 0:
            self.connection.settimeout(left_s)
            if not self.connection.recv(PIECE_BYTES):
                return


def read_chunks(stream: BufferedIOBase, max_bytes: int, take: Take) -> bytes:
    """A body in chunks. Source: RFC 9112, section 7.1.

    Args:
        stream: The request, after its headers.
        max_bytes: Largest body.
        take: Takes memory for what is read.

    Raises:
        EventError: When it isn't well-formed.
        ImageTooLargeError: When it is larger.
        OverloadedError: When there is no memory for it now.
        OSError: When the connection ends.
    """
    body = bytearray()
    while size := _read_size(stream):
        if len(body) + size > max_bytes:
            raise _too_large(max_bytes)
        if not _read_pieces(stream, size, body, take) or stream.readline(LINE_BYTES).strip():
            raise EventError("a chunk of the request broke off")
    while stream.readline(LINE_BYTES).strip():  # trailers, which nobody asked for
        pass
    return bytes(body)


def _read_pieces(stream: BufferedIOBase, size: int, body: bytearray, take: Take) -> bool:
    """Read so many bytes to the end of `body`; False when there are fewer."""
    while size:
        piece = stream.read(min(size, PIECE_BYTES))
        if not piece:
            return False
        take(len(piece))
        body += piece
        size -= len(piece)
    return True


def _read_size(stream: BufferedIOBase) -> int:
    line = stream.readline(LINE_BYTES)
    text = line.partition(b";")[0].strip()
    try:
        return int(text, 16) if text and text.isalnum() and len(text) <= 16 else int("")
    except ValueError as error:
        raise EventError(f"the request has a chunk without a size (got {text[:20]!r})") from error


def _too_large(max_bytes: int) -> ImageTooLargeError:
    return ImageTooLargeError(f"the event has more than {max_bytes} bytes", hint="raise max_bytes of the publisher")
