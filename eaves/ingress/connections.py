"""The open connections of a server: a bounded number, and which of them makes room for the next one.

A connection is new until a route has let its caller in; new ones have half of the places, and the oldest one of the
address that has the most of them makes room for the next. So strangers can't push out callers that are known, nor, from
a few addresses, those that are about to be.
When known callers have all places, the one that has been idle for longest makes room, or else the oldest.
"""

from __future__ import annotations

import enum
import socket
import threading
from collections import Counter, OrderedDict
from ipaddress import IPv6Address, ip_address


class ConnectionState(enum.Enum):
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
        self._networks: dict[int, str] = {}
        self._open: dict[ConnectionState, OrderedDict[int, socket.socket]] = {
            state: OrderedDict() for state in ConnectionState
        }

    def __len__(self) -> int:
        with self._lock:
            return self._count()

    def add(self, connection: socket.socket, address: str = "") -> None:
        """Enter a new connection, and hang up another one when there are too many.

        Args:
            connection: The connection.
            address: Where it comes from.
        """
        with self._lock:
            strangers = self._open[ConnectionState.NEW]
            if len(strangers) >= self._new_limit:
                self._hang_up_stranger(strangers)
            elif self._count() >= self._limit:
                known = self._open[ConnectionState.IDLE] or self._open[ConnectionState.BUSY]
                _hang_up(known.popitem(last=False)[1])
            strangers[id(connection)] = connection
            self._networks[id(connection)] = _network(address)

    def mark(self, connection: socket.socket, state: ConnectionState) -> None:
        """Say what a connection does now; nothing when it was hung up."""
        with self._lock:
            if self._pop(connection):
                self._open[state][id(connection)] = connection

    def remove(self, connection: socket.socket) -> None:
        """Forget a connection that is closed."""
        with self._lock:
            self._pop(connection)
            self._networks.pop(id(connection), None)

    def hang_up_all(self) -> None:
        """End every connection."""
        with self._lock:
            for table in self._open.values():
                for connection in table.values():
                    _hang_up(connection)

    def _hang_up_stranger(self, strangers: OrderedDict[int, socket.socket]) -> None:
        counts = Counter(self._networks.get(key, "") for key in strangers)
        key = max(strangers, key=lambda one: counts[self._networks.get(one, "")])  # the first of several
        _hang_up(strangers.pop(key))

    def _count(self) -> int:
        return sum(map(len, self._open.values()))

    def _pop(self, connection: socket.socket) -> bool:
        return any(table.pop(id(connection), None) is not None for table in self._open.values())


def _network(address: str) -> str:
    """Whose an address is: of IPv6 the first 64 bits. Source: RFC 6177, a site has at least so many to itself."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None else str(parsed)


def _hang_up(connection: socket.socket) -> None:
    try:
        # Not the method of ssl.SSLSocket, which would take TLS away from the thread that reads the connection.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return  # the other side has gone
