"""What comes from a connection, with limits on how long it may take."""

from __future__ import annotations

import io
import socket
import time
from typing import Any


class TimedReader(io.RawIOBase):
    """Reads a socket. A sender of one byte now and then is as slow as one that sends nothing.

    Args:
        connection: The socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self._stall_s = 0.0
        self._deadline = 0.0

    def limit(self, *, stall_s: float, total_s: float) -> None:
        """Set how long what comes next may take.

        Args:
            stall_s: Longest wait for the next bytes, seconds.
            total_s: For all of it, seconds.
        """
        self._stall_s = stall_s
        self._deadline = time.monotonic() + total_s

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has come, or wait for it.

        Raises:
            TimeoutError: When time ran out.
            OSError: When the connection is broken.
        """
        left_s = min(self._stall_s, self._deadline - time.monotonic())
        if left_s <= 0:
            raise TimeoutError("the request takes too long")
        self._connection.settimeout(left_s)
        return self._connection.recv_into(buffer)
