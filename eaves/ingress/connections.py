"""The open connections of a server: a bounded number, and which of them makes room for the next one.

Whoever holds connections open keeps nobody out. A connection is new until a route has let its caller in; new ones have
half of the places, and the oldest of them makes room for the next. So strangers can't push out callers that are known.
When known callers have all places, the one that has been idle for longest makes room, or else the oldest.
"""

from __future__ import annotations

import enum
import socket
import threading
from collections import OrderedDict


class State(enum.Enum):
    """What is known of a connection."""

    NEW = "new"
    IDLE = "idle"
    BUSY = "busy"


class Connections:
    """The table. For many threads.

    Args:
        limit: Most connections at the same time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._new_limit = max(1, limit // 2)
        self._lock = threading.Lock()
        self._open: dict[State, OrderedDict[int, socket.socket]] = {state: OrderedDict() for state in State}

    def __len__(self) -> int:
        with self._lock:
            return self._count()

    def add(self, connection: socket.socket) -> None:
        """Enter a new connection, and hang up another one when there are too many."""
        with self._lock:
            strangers = self._open[State.NEW]
            if len(strangers) >= self._new_limit:
                _hang_up(strangers.popitem(last=False)[1])
            elif self._count() >= self._limit:
                known = self._open[State.IDLE] or self._open[State.BUSY]
                _hang_up(known.popitem(last=False)[1])
            strangers[id(connection)] = connection

    def mark(self, connection: socket.socket, state: State) -> None:
        """Say what a connection does now; nothing when it was hung up."""
        with self._lock:
            if self._pop(connection):
                self._open[state][id(connection)] = connection

    def remove(self, connection: socket.socket) -> None:
        """Forget a connection that is closed."""
        with self._lock:
            self._pop(connection)

    def hang_up_all(self) -> None:
        """End every connection."""
        with self._lock:
            for table in self._open.values():
                for connection in table.values():
                    _hang_up(connection)

    def _count(self) -> int:
        return sum(map(len, self._open.values()))

    def _pop(self, connection: socket.socket) -> bool:
        return any(table.pop(id(connection), None) is not None for table in self._open.values())


def _hang_up(connection: socket.socket) -> None:
    try:
        # Not the method of ssl.SSLSocket, which would take TLS away from the thread that reads the connection.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return  # the other side has gone
