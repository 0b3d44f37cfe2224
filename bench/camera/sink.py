"""Receives events over HTTP, answers 202, and notes when each of them came."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An event that arrived.

    Attributes:
        at: Monotonic time at which it was complete, seconds.
        attributes: Its attributes; `content-type` is among them.
        data: Its data; empty unless they are kept.
    """

    at: float
    attributes: dict[str, str]
    data: bytes


@dataclass(slots=True, kw_only=True)
class Sink:
    """A server that accepts every event.

    Attributes:
        url: Its address.
        arrivals: Events in the order of their arrival, when they are kept.
        is_keeping: Whether events are kept.
    """

    url: str = ""
    arrivals: list[Arrival] = field(default_factory=list)
    is_keeping: bool = False


@contextmanager
def accepting(*, keeps: bool = False) -> Iterator[Sink]:
    """Accept events until the block ends."""
    sink = Sink(is_keeping=keeps)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if sink.is_keeping:
                sink.arrivals.append(Arrival(at=time.monotonic(), attributes=_read(self.headers), data=data))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sink.url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()


def _read(headers: Message) -> dict[str, str]:
    return {name.lower().removeprefix("ce-"): value for name, value in headers.items()}
