"""Sends events to a broker or a function with little CPU time: with one thread, over connections that stay open.

The events differ only in their ids.
"""

from __future__ import annotations

import re
import selectors
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from eaves.events import IMAGE_CAPTURED

SOURCE = "/eaves/bench/camera"
TYPE = IMAGE_CAPTURED
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
HEAD = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\nContent-Length: {size}\r\n"
    "ce-specversion: 1.0\r\nce-id: {id}\r\nce-source: {source}\r\nce-type: {type}\r\n\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An event that was sent and answered.

    Attributes:
        id: Id of the event.
        began_at: Time when its first byte was sent, by the machine's monotonic clock.
        answered_at: Time when the response to the event was complete, by the same clock.
    """

    id: str
    began_at: float
    answered_at: float


class Sender:
    """Sends events to one server over connections that stay open.

    Args:
        port: Port of the server on the loopback address.
        path: Path of the requests.
        body: Data of every event.
        connections: Number of connections; as many events are in progress at the same time.
    """

    def __init__(self, port: int, path: str, body: bytes, *, connections: int = 1) -> None:
        self._path, self._body = path, body
        self._opened = ExitStack()
        self._peers = [
            self._opened.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(connections)
        ]
        for peer in self._peers:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close the connections."""
        self._opened.close()

    def send(self, ids: Sequence[str]) -> list[Sent]:
        """Send one event for each id; each connection waits for the response to an event before it sends the next."""
        following, done = iter(ids), []
        with selectors.DefaultSelector() as selector:
            for peer in self._peers:
                self._begin(selector, peer, following)
            while selector.get_map():
                for key, _ in selector.select():
                    peer = key.fileobj
                    assert isinstance(peer, socket.socket)
                    name, began_at = key.data
                    _read_answer(peer)
                    done.append(Sent(id=name, began_at=began_at, answered_at=time.monotonic()))
                    selector.unregister(peer)
                    self._begin(selector, peer, following)
        return done

    def _begin(self, selector: selectors.BaseSelector, peer: socket.socket, following: Iterator[str]) -> None:
        name = next(following, None)
        if name is None:
            return
        head = HEAD.format(path=self._path, size=len(self._body), id=name, source=SOURCE, type=TYPE).encode()
        began_at = time.monotonic()
        sent = peer.sendmsg([head, self._body])
        if sent < len(head) + len(self._body):
            peer.sendall((head + self._body)[sent:])
        selector.register(peer, selectors.EVENT_READ, (name, began_at))


def get(port: int, path: str) -> bytes:
    """Return the body of the response to a GET request to a port of the loopback address."""
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return _read_answer(peer)


def _read_answer(peer: socket.socket) -> bytes:
    """Return the body of an HTTP response; exit with an error when its status isn't 2xx."""
    answer = b""
    while True:
        more = peer.recv(65536)
        answer += more
        if not more or not answer.startswith(b"HTTP/1.1 2"):
            sys.exit(f"error: the answer is {answer[:500]!r}")
        head, separator, body = answer.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if separator and (not length or len(body) >= int(length[1])):
            return body
