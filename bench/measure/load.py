"""Generates load with little CPU time: with one thread, connections that stay open, and prepared requests."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Measurements of a number of requests.

    Attributes:
        latencies_ms: Time of each request, from the first byte sent to the last byte of its response, ms.
        seconds: Time from the first request to the last response.
        cpu_ms: CPU time per request that the load generator itself used, ms.
    """

    latencies_ms: Sequence[float]
    seconds: float
    cpu_ms: float


class LoadError(Exception):
    """The server refused a request or ended the connection; the text has the beginning of its answer."""


def build_request(body: bytes, *, path: str = "/", content_type: str = "image/jpeg") -> bytes:
    """Return an HTTP request as bytes."""
    fields = {"Host": "localhost", "Content-Type": content_type, "Content-Length": len(body)}
    head = "\r\n".join([f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())])
    return f"{head}\r\n\r\n".encode("ascii") + body


def build_requests(images: Sequence[bytes]) -> list[bytes]:
    """Return one HTTP request for each image, as bytes; the image is the body."""
    return [build_request(image) for image in images]


def send_all(port: int, requests: Sequence[bytes], *, connections: int, count: int) -> Load:
    """Send `count` requests over several connections, and return the measurements.

    Each connection sends its next request after the response to its previous one. The requests are repeated as needed.

    Raises:
        LoadError: When a request isn't answered with 200.
    """
    latencies: list[float] = []
    following = islice(cycle(requests), count)
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        start, cpu = time.perf_counter(), time.process_time()
        for request in islice(following, connections):
            peer = _Peer(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
            selector.register(peer.socket, selectors.EVENT_READ, peer)
            peer.send(request)
        while len(latencies) < count:
            for key, _ in selector.select():
                if key.data.receive():
                    latencies.append(key.data.elapsed_ms())
                    for request in islice(following, 1):
                        key.data.send(request)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return Load(latencies_ms=latencies, seconds=seconds, cpu_ms=cpu * 1000 / count)


class _Peer:
    """One connection to the server, with the response that is being received."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected
        self._start, self._answer = 0.0, b""

    def send(self, request: bytes) -> None:
        self._start, self._answer = time.perf_counter(), b""
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Read the bytes that have arrived, and return whether the response is complete."""
        more = self.socket.recv(65536)
        self._answer += more
        if not more or not self._answer.startswith(b"HTTP/1.1 200"):
            raise LoadError(f"the server answered {self._answer[:500]!r}")
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if CHUNKED.search(head):
            return body.endswith(b"0\r\n\r\n")
        return bool(separator and length and len(body) >= int(length[1]))

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self._start) * 1000
