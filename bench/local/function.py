"""Serves a function that does no work, for benchmarks of the platform: it accepts every POST and answers 202.

`python -m bench.local.function` listens on PORT. `GET /received` returns the events since the last such request, in
order: the id of each event and the time when it had arrived completely, by the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
ID = re.compile(rb"\r\nce-id: *([^\r]+)", re.IGNORECASE)
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
END = b"\r\n\r\n"

received: list[tuple[str, float]] = []


class Connection(asyncio.Protocol):
    """A client's connection, which stays open until the client closes it."""

    def __init__(self) -> None:
        self._head, self._left, self._got = b"", 0, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._left > len(data):  # most of a body: counted and dropped
            self._left -= len(data)
            return
        if self._left:
            data, self._left = data[self._left :], 0
            self._answer()
        self._got += data
        while END in self._got:
            head, _, rest = bytes(self._got).partition(END)
            found = LENGTH.search(head)
            self._head, length = head, int(found[1]) if found else 0
            self._got = bytearray(rest[length:])
            self._left = max(0, length - len(rest))
            if self._left:
                return
            self._answer()

    def _answer(self) -> None:
        if self._head.startswith(b"POST"):
            if found := ID.search(self._head):
                received.append((found[1].decode(), time.monotonic()))
            self._transport.write(ACCEPTED)
            return
        body = json.dumps(received).encode() if self._head.startswith(b"GET /received") else b"ready"
        if body != b"ready":
            received.clear()
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


async def serve(connection: type[Connection] = Connection) -> None:
    """Accept connections on PORT until SIGTERM; `connection` answers them."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    await loop.create_server(connection, "127.0.0.1", int(os.environ["PORT"]))
    await stopped.wait()


if __name__ == "__main__":
    asyncio.run(serve())
