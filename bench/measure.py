"""Generates load with little CPU time, lets subjects take turns, compares medians, and counts bytes on a connection."""

from __future__ import annotations

import math
import re
import selectors
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import TypeVar

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
REST_S = 0.05
"""Seconds between two turns, so that threads of the last subject that still spin don't disturb the next one."""
T = TypeVar("T")


class LoadError(Exception):
    """The server refused a request or ended the connection; the text has the beginning of its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Measurements of a number of requests or predictions.

    Attributes:
        latencies_ms: Time of each, in the order of their ends, ms.
        begun_at: Time when the first byte of each was sent, by `time.monotonic`, in the order of their ends.
        per_second: Number per second.
        cpu_ms: CPU time of the server for each, ms; 0 when it was not measured.
    """

    latencies_ms: Sequence[float]
    begun_at: Sequence[float] = ()
    per_second: float
    cpu_ms: float = 0.0


def build_request(body: bytes, *, path: str = "/", content_type: str = "image/jpeg", **fields: str) -> bytes:
    """Return an HTTP request as bytes; `fields` are more header fields, with `_` for `-`."""
    known = {"Host": "localhost", "Content-Type": content_type, "Content-Length": str(len(body))}
    more = {name.replace("_", "-"): value for name, value in fields.items()}
    head = "\r\n".join([f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in {**known, **more}.items())])
    return f"{head}\r\n\r\n".encode("ascii") + body


def send_all(port: int, requests: Iterable[bytes], *, connections: int = 1) -> Load:
    """Send the requests over connections that stay open; each sends its next one after the answer to its previous one.

    Raises:
        LoadError: When a request isn't answered with 2xx.
    """
    latencies: list[float] = []
    begun: list[float] = []
    following = iter(requests)
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        start = time.monotonic()
        for request in islice(following, connections):
            peer = _Peer(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
            selector.register(peer.socket, selectors.EVENT_READ, peer)
            peer.send(request)
        while selector.get_map():
            for key, _ in selector.select():
                if not key.data.receive():
                    continue
                latencies.append((time.monotonic() - key.data.begun_at) * 1000)
                begun.append(key.data.begun_at)
                request = next(following, b"")
                if request:
                    key.data.send(request)
                else:
                    selector.unregister(key.fileobj)
        seconds = time.monotonic() - start
    return Load(latencies_ms=latencies, begun_at=begun, per_second=len(latencies) / seconds)


class _Peer:
    """One connection to the server, with the answer that is being received."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected
        self.begun_at, self._answer = 0.0, b""

    def send(self, request: bytes) -> None:
        self.begun_at, self._answer = time.monotonic(), b""
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Read the bytes that have arrived, and return whether the answer is complete."""
        more = self.socket.recv(65536)
        self._answer += more
        if not more or not self._answer.startswith(b"HTTP/1.1 2"):
            raise LoadError(f"the server answered {self._answer[:500]!r}")
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if CHUNKED.search(head):
            return body.endswith(b"0\r\n\r\n")
        return bool(separator) and (len(body) >= int(length[1]) if length else True)


def take_turns(
    subjects: Mapping[str, Callable[[], T]], rounds: int, *, warm_up: bool = False
) -> tuple[dict[str, list[T]], dict[str, str]]:
    """Call every subject once in each round; return their results, and those that failed with the reason.

    Args:
        subjects: What is measured, by name.
        rounds: Number of rounds.
        warm_up: Whether one more round runs first and isn't counted.
    """
    found: dict[str, list[T]] = {name: [] for name in subjects}
    failed: dict[str, str] = {}
    for number in range(0 if warm_up else 1, rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
        for name in [name for name in subjects if name in found]:
            time.sleep(REST_S)
            try:
                result = subjects[name]()
            except (LoadError, OSError) as error:
                failed[name] = f"it failed in round {number}: {error}"[:300]
                del found[name]
                continue
            found[name] += [result] if number else []
    return found, failed


def find_median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of the median of independent values, from their order alone; at most the whole range."""
    ordered, count, skipped = sorted(values), len(values), 0
    while 2 * sum(math.comb(count, number) for number in range(skipped + 2)) <= (1 - confidence) * 2**count:
        skipped += 1
    return ordered[skipped], ordered[-1 - skipped]


@dataclass(slots=True)
class Sink:
    """A server that answers every event with 202.

    Attributes:
        url: Its address.
        arrived_at: Time at which each event was complete, by `time.monotonic`, by the event's id.
    """

    url: str = ""
    arrived_at: dict[str, float] = field(default_factory=dict)


@contextmanager
def accept_events() -> Iterator[Sink]:
    """Run a sink during the `with` block."""
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            sink.arrived_at[self.headers["ce-id"]] = time.monotonic()
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


class Wire:
    """TCP proxy in front of one server (`HOST:PORT`), with a byte counter for each direction."""

    def __init__(self, server: str) -> None:
        host, _, port = server.partition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.bytes: Counter[str] = Counter()

    def run(self) -> None:
        """Accept connections and pass their bytes on, until `close` is called."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                for one, other, way in ((client, server, "up"), (server, client, "down")):
                    threading.Thread(target=self._pass, args=(one, other, way), daemon=True).start()

    def close(self) -> None:
        """Stop accepting new connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _pass(self, one: socket.socket, other: socket.socket, way: str) -> None:
        with suppress(OSError):
            while piece := one.recv(1 << 16):
                self.bytes[way] += len(piece)
                other.sendall(piece)
            other.shutdown(socket.SHUT_WR)


@contextmanager
def count_wire(server: str) -> Iterator[Wire]:
    """Run a proxy that counts bytes in front of a server during the `with` block, and yield it."""
    wire = Wire(server)
    threading.Thread(target=wire.run, daemon=True).start()
    try:
        yield wire
    finally:
        wire.close()
