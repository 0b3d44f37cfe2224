"""A camera's web server on loopback, that answers as a test says: whole answers, halves, drops, or nothing at all."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import StreamRequestHandler, ThreadingTCPServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request.

    Attributes:
        target: Path and query.
        headers: Names in lower case.
    """

    target: str
    headers: Mapping[str, str]


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
class FakeCamera:
    """The camera's behaviour and what it was asked.

    Attributes:
        answer: What it does with a request; it may be replaced at any time.
        url: Its address, without a path.
        asked: Every request so far.
        released: Set when the test is over: an answer that hangs waits for it.
        connections: Connections made so far.
    """

    answer: Answer
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    connections: int = 0

    def hang(self) -> Iterator[bytes]:
        """Nothing, until the test is over."""
        self.released.wait(60)
        yield b""

    def trickle(self, start: bytes, piece: bytes, pause_s: float = 0.05) -> Iterator[bytes]:
        """A beginning, and then for ever a piece now and then."""
        yield start
        while not self.released.wait(pause_s):
            yield piece


class _Server(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what some tests are about."""


@contextmanager
def open_camera(
    answer: Answer, *, context: ssl.SSLContext | None = None, port: int = 0, host: str = "127.0.0.1"
) -> Iterator[FakeCamera]:
    """A running camera; with `context`, by TLS."""
    camera = FakeCamera(answer)
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

        def handle(self) -> None:
            camera.connections += 1
            opened.add(self.request)
            with suppress(OSError):
                while _handle(camera, self):
                    pass

    with _Server((host, port), Handler) as server:
        scheme = "https" if context else "http"
        camera.url = f"{scheme}://{host}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield camera
        finally:
            camera.released.set()
            server.shutdown()
            thread.join()
            for one in list(opened):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


def _handle(camera: FakeCamera, handler: StreamRequestHandler) -> bool:
    """Answer one request; whether there may be another on this connection."""
    words = handler.rfile.readline().decode().split()
    if len(words) != 3:
        return False
    headers = {name.lower(): value for name, value in http.client.parse_headers(handler.rfile).items()}
    request = Asked(target=words[1], headers=headers)
    camera.asked.append(request)
    answer = camera.answer(request)
    if isinstance(answer, bytes):
        handler.wfile.write(answer)
        head = answer.partition(b"\r\n\r\n")[0].lower()
        return b"content-length" in head and b"connection: close" not in head
    for piece in answer:
        handler.wfile.write(piece)
    return False
