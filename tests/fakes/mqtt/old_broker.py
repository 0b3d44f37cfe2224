"""A broker that speaks MQTT 3.1.1 only: what stands before one that speaks both and refuses the newer version."""

import socket
import threading
from contextlib import suppress

from tests.fakes.http.tcp_proxy import TcpProxy

REFUSAL = bytes((0x20, 0x02, 0x00, 0x01))
"""CONNACK with code 1, unacceptable protocol version. Source: MQTT 3.1.1, section 3.2.2.3."""
LEVEL_AT = 8
"""Offset of the version in CONNECT when its length takes one byte: type, length, 2 bytes and the 4 of `MQTT`, level."""


class OldBroker(TcpProxy):
    """Listens on loopback and passes on what isn't MQTT 5.

    Args:
        port: Port of the real broker.

    Attributes:
        port: Its own.
        refused: Connections that were refused.
    """

    def __init__(self, port: int) -> None:
        self.refused = 0
        super().__init__(port)

    def serve(self, peer: socket.socket) -> None:
        with peer, suppress(OSError):
            first = peer.recv(4096)
            at = LEVEL_AT if first[1] < 128 else LEVEL_AT + 1
            if first[at] == 5:
                self.refused += 1
                peer.sendall(REFUSAL)
                return
            with self.connect() as behind:
                behind.sendall(first)
                thread = threading.Thread(target=_pass_on, args=(behind, peer), daemon=True)
                thread.start()
                _pass_on(peer, behind)
                thread.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
