"""A TCP proxy that counts bytes in both directions."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Wire:
    """Byte counters of one proxy.

    Args:
        server: Host and port of the server.
    """

    def __init__(self, server: str) -> None:
        host, _, port = server.partition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.bytes: Counter[str] = Counter()

    def run(self) -> None:
        """Accept connections until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                for one, other, way in ((client, server, "up"), (server, client, "down")):
                    threading.Thread(target=self._pass, args=(one, other, way), daemon=True).start()

    def close(self) -> None:
        """Stop accepting connections."""
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
    """Run a proxy in front of a server during the block."""
    wire = Wire(server)
    threading.Thread(target=wire.run, daemon=True).start()
    try:
        yield wire
    finally:
        wire.close()
