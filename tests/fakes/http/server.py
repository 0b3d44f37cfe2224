"""A web server on loopback that answers as a test says: whole answers, halves, drops, or nothing at all."""

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import StreamRequestHandler

from tests.fakes.threaded_server import ThreadedServer, serving


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request.

    Attributes:
        method: HTTP method.
        target: Path and query.
        fields: Names and values of its headers, as they came.
        headers: The same by name in lower case.
        body: Its body, when it has a length.
    """

    method: str
    target: str
    fields: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes = b""


Answer = Callable[[Asked], bytes | Iterable[bytes]]
"""A request to the bytes of its answer, or to the pieces in which they are sent."""


def respond(
    status: int = 200, body: bytes = b"", *more: tuple[str, str], length: int | None = None, **headers: str
) -> bytes:
    """The bytes of an answer.

    Args:
        status: HTTP status.
        body: Its body.
        more: Headers that are there more than once.
        length: Content-Length; the body's when it is None, -1 for no such header.
        headers: Names with `_` for `-`.
    """
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()] + list(more)
    if length != -1:
        fields.append(("Content-Length", str(len(body) if length is None else length)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status} Some\r\n{lines}\r\n".encode() + body


@dataclass
class FakeServer:
    """The server's behaviour and what it was asked.

    Attributes:
        answer: What it does with a request; it may be replaced at any time.
        url: Its address, without a path.
        asked: Every request so far.
        released: Set when the test is over: an answer that hangs waits for it.
        connections: Connections made so far.
        closed: Connections that have ended.
    """

    answer: Answer
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    connections: int = 0
    closed: int = 0

    def hang(self) -> Iterator[bytes]:
        """Nothing, until the test is over."""
        self.released.wait(60)
        yield b""

    def trickle(self, start: bytes, piece: bytes, pause_s: float = 0.05) -> Iterator[bytes]:
        """A beginning, and then for ever a piece now and then."""
        yield start
        while not self.released.wait(pause_s):
            yield piece


@contextmanager
def open_server(
    answer: Answer, *, context: ssl.SSLContext | None = None, port: int = 0, host: str = "127.0.0.1"
) -> Iterator[FakeServer]:
    """A running server; with `context`, by TLS."""
    fake = FakeServer(answer)
    opened: set[socket.socket] = set()

    class Handler(StreamRequestHandler):
        def setup(self) -> None:
            if context is not None:
                self.request.settimeout(30)
                self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            with suppress(OSError):
                super().finish()
            opened.discard(self.request)
            self.request.close()
            fake.closed += 1

        def handle(self) -> None:
            fake.connections += 1
            opened.add(self.request)
            with suppress(OSError):
                while _handle(fake, self):
                    pass

    server = ThreadedServer((host, port), Handler)
    fake.url = f"{'https' if context else 'http'}://{host}:{server.server_address[1]}"
    with serving(server, opened, fake.released):
        yield fake


def _handle(fake: FakeServer, handler: StreamRequestHandler) -> bool:
    """Answer one request; whether there may be another on this connection."""
    words = handler.rfile.readline().decode().split()
    if len(words) != 3:
        return False
    fields = http.client.parse_headers(handler.rfile).items()
    headers = {name.lower(): value for name, value in fields}
    body = handler.rfile.read(int(headers.get("content-length", 0)))
    request = Asked(method=words[0], target=words[1], fields=fields, headers=headers, body=body)
    fake.asked.append(request)
    answer = fake.answer(request)
    if isinstance(answer, bytes):
        handler.wfile.write(answer)
        head = answer.partition(b"\r\n\r\n")[0].lower()
        return b"content-length" in head and b"connection: close" not in head
    for piece in answer:
        handler.wfile.write(piece)
    return False
