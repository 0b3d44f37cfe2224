"""The sockets of HTTP connections, so that an exchange can be ended while another thread waits in it.

A socket's time limit is for each wait for bytes: a server that sends one byte of a header now and then holds its client
for as long as it likes. Whoever has a limit for a whole exchange ends it from another thread.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import urllib3
from urllib3.connection import HTTPConnection


class OpenSockets:
    """The sockets of the connections that pools of urllib3 have made, as long as these exist."""

    def __init__(self) -> None:
        self._sockets: WeakSet[socket.socket] = WeakSet()

    def follow(self, manager: urllib3.PoolManager) -> None:
        """Take note of every connection that a manager makes from now on."""
        pools: dict[str, Any] = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": self._noting(pool.ConnectionCls)})
            for scheme, pool in pools.items()
        }

    def shut_down(self) -> None:
        """Shut all of them down in both directions; a thread that waits for one of them goes on with an error."""
        for one in list(self._sockets):
            # By another descriptor: ssl.SSLSocket.shutdown would take away what the other thread is using.
            with suppress(OSError, ValueError), socket.socket(fileno=os.dup(one.fileno())) as same:
                same.shutdown(socket.SHUT_RDWR)

    def _noting(self, kind: Any) -> type[HTTPConnection]:
        sockets = self._sockets

        class Noting(kind):  # type: ignore[misc]
            def connect(self) -> None:
                super().connect()
                if isinstance(self.sock, socket.socket):
                    sockets.add(self.sock)

        Noting.__name__ = kind.__name__  # urllib3's messages tell it
        return Noting
