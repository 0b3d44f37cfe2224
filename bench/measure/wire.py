"""Counts the bytes of a TCP connection in both directions, with a proxy."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Wire:
    """TCP proxy in front of one server, with a byte counter for each direction.

    Args:
        server: Host and port of the server, as `HOST:PORT`.
    """

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
