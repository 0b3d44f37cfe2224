"""What stands on loopback before a server and takes its connections."""

import socket
import threading
from abc import ABC, abstractmethod
from contextlib import suppress


class TcpProxy(ABC):
    """Listens on a free port and serves each connection in a thread of its own.

    Args:
        port: Port of the server behind the proxy.

    Attributes:
        port: Its own.
        behind: The server's.
    """

    def __init__(self, port: int) -> None:
        self.behind = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts, which to close does not
        self._listener.close()
        self._thread.join()

    def connect(self) -> socket.socket:
        """A connection to the server behind it."""
        return socket.create_connection(("127.0.0.1", self.behind))

    @abstractmethod
    def serve(self, peer: socket.socket) -> None:
        """Serve one connection."""

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()
