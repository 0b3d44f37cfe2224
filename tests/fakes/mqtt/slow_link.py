"""A link over which a broker's first answer on each connection takes a while, as over a satellite."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

from tests.fakes.http.tcp_proxy import TcpProxy


class SlowLink(TcpProxy):
    """Listens on loopback and passes everything on to a broker.

    Args:
        port: Port of the broker.
        delay_s: What the broker's first bytes of each connection take, seconds.

    Attributes:
        port: Its own.
    """

    def __init__(self, port: int, delay_s: float) -> None:
        self._delay_s = delay_s
        super().__init__(port)

    def serve(self, peer: socket.socket) -> None:
        with peer, suppress(OSError), self.connect() as behind:
            threading.Thread(target=_pass_on, args=(peer, behind, 0.0), daemon=True).start()
            _pass_on(behind, peer, self._delay_s)


def _pass_on(source: socket.socket, target: socket.socket, delay_s: float) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            time.sleep(delay_s)  # the link itself
            delay_s = 0.0
            target.sendall(data)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
