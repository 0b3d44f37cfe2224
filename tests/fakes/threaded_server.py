"""A TCP server of tests that runs in a thread while a block runs, each connection in a thread of its own."""

import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from socketserver import TCPServer, ThreadingTCPServer


class ThreadedServer(ThreadingTCPServer):
    """Waits for no connection at its end."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what some tests are about."""


@contextmanager
def serving(
    server: TCPServer, opened: Collection[socket.socket] = (), released: threading.Event | None = None
) -> Iterator[None]:
    """Run a server.

    Args:
        server: The server, which is closed at the end.
        opened: Connections to shut down at the end.
        released: Event that is set before it ends, so that answers which hang come to an end.
    """
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            if released is not None:
                released.set()
            server.shutdown()
            thread.join()
            for one in list(opened):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
