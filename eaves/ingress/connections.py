"""Open connections of a server: their number is limited, and a new one may close another.

A connection is new until a route has accepted its caller. New connections have half of the places; when those are
taken, the oldest new connection of the address with the most new connections is closed. So unknown callers can't
displace known ones. Unknown callers at a few addresses can't displace callers that a route is about to accept either.
When known callers have all places, the connection that has been idle for longest is closed, or else the oldest.
"""

from __future__ import annotations

import enum
import socket
import threading
from collections import Counter, OrderedDict
from ipaddress import IPv6Address, ip_address


class ConnectionState(enum.Enum):
    """State of a connection, which decides which connection is closed to make room for a new one."""

    NEW = "new"
    IDLE = "idle"
    BUSY = "busy"


class Connections:
    """Table of a server's open connections. Safe to use from many threads.

    Args:
        limit: Maximum number of connections at the same time.
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
        """Add a new connection, and close another one when there are too many.

        Args:
            connection: Socket of the connection.
            address: Address of the peer.
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
        """Set the state of a connection; no effect after it was closed."""
        with self._lock:
            if self._pop(connection):
                self._open[state][id(connection)] = connection

    def remove(self, connection: socket.socket) -> None:
        """Remove a connection that is closed."""
        with self._lock:
            self._pop(connection)
            self._networks.pop(id(connection), None)

    def hang_up_all(self) -> None:
        """Close every connection."""
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
    """Return the network that an address belongs to: for IPv6 its first 64 bits, for IPv4 the address itself.

    Source: RFC 6177, a site has at least so many to itself.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None else str(parsed)


def _hang_up(connection: socket.socket) -> None:
    try:
        # The method of ssl.SSLSocket would take TLS away from the thread that reads the connection.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return  # the peer has closed the connection
