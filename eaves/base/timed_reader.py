"""Reads a socket with time limits, which a peer that sends single bytes can't evade."""

from __future__ import annotations

import io
import math
import socket
import time
from collections.abc import Callable
from typing import Any


class TimedReader(io.RawIOBase):
    """Reads a socket.

    Args:
        connection: Socket whose time limit is set before each read.
        read: Function that reads into a buffer, in place of the socket's own.

    Attributes:
        stall_s: Maximum wait for the next bytes, seconds.
        deadline: Time until which all reads together must end, monotonic seconds.
    """

    def __init__(self, connection: socket.socket, read: Callable[[Any], int] | None = None) -> None:
        super().__init__()
        self._connection, self._read = connection, read or connection.recv_into
        self.stall_s = self.deadline = math.inf

    def limit(self, *, stall_s: float, total_s: float) -> None:
        """Set the maximum wait for the next bytes, and the time limit for all following reads together, seconds."""
        self.stall_s, self.deadline = stall_s, time.monotonic() + total_s

    def readable(self) -> bool:
        """Return True, as the stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the bytes that have arrived, or wait for some.

        Raises:
            OSError: When a time limit is exceeded (TimeoutError), or the connection is broken.
        """
        left_s = min(self.stall_s, self.deadline - time.monotonic())
        if left_s <= 0:
            raise TimeoutError("the time limit ended before everything had arrived")
        self._connection.settimeout(left_s if left_s < math.inf else None)
        return self._read(buffer)
