"""The open sockets of HTTP connections, so that one thread can end an exchange in which another waits.

A socket's time limit applies to each wait for bytes, so a server that sends one byte of a header from time to time can
hold its client for as long as it likes. A caller with a limit for a whole exchange ends it from another thread.
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
    """The sockets of all open connections that urllib3's pools have made; closed connections are forgotten."""

    def __init__(self) -> None:
        self._sockets: WeakSet[socket.socket] = WeakSet()

    def follow(self, manager: urllib3.PoolManager) -> None:
        """Record every connection that a pool manager makes from now on."""
        pools: dict[str, Any] = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": self._noting(pool.ConnectionCls)})
            for scheme, pool in pools.items()
        }

    def shut_down(self) -> None:
        """Shut all sockets down in both directions; a thread that waits for one of them continues with an error."""
        for one in list(self._sockets):
            # Through another descriptor, because ssl.SSLSocket.shutdown would remove the state that the other thread
            # uses.
            with suppress(OSError, ValueError), socket.socket(fileno=os.dup(one.fileno())) as same:
                same.shutdown(socket.SHUT_RDWR)

    def _noting(self, kind: Any) -> type[HTTPConnection]:
        sockets = self._sockets

        class Noting(kind):  # type: ignore[misc]
            def connect(self) -> None:
                super().connect()
                if isinstance(self.sock, socket.socket):
                    sockets.add(self.sock)

        Noting.__name__ = kind.__name__  # urllib3's messages contain this name
        return Noting
