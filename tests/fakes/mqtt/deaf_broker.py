"""A broker that accepts connections and never acknowledges a message."""

from __future__ import annotations

import socketserver
import threading

CONNACK = bytes([0x20, 0x03, 0x00, 0x00, 0x00])
"""Source: MQTT 5.0, section 3.2: no session, success, no properties."""


class DeafBroker:
    """A TCP server that answers CONNECT and reads what follows.

    Attributes:
        connections: Accepted so far.
        open: Open now.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        owner = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                owner.connections += 1
                owner.open += 1
                self.request.recv(4096)
                self.request.sendall(CONNACK)
                while self.request.recv(4096):
                    pass
                owner.open -= 1

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
