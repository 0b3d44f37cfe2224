"""Reading of a socket with time limits."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from typing import Any

LOOK_S = 1.0
"""Interval at which a reader checks whether other requests wait for memory, so that a minimum rate applies, seconds."""
HURRY_WINDOW_S, HURRY_BYTES_S = 10.0, 4_000
"""Minimum rate of a body, bytes per second, averaged over a window in seconds, while other requests wait for the memory
that the body takes: half of what a link of 64 kbit/s carries."""


class TimedReader(io.RawIOBase):
    """Reads a socket with time limits, which a sender of single bytes can't evade.

    Args:
        connection: Socket to read.
    """

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self._stall_s = 0.0
        self._deadline = 0.0
        self._in_hurry: Callable[[], bool] | None = None
        self._window = (0.0, 0)

    def limit(self, *, stall_s: float, total_s: float, in_hurry: Callable[[], bool] | None = None) -> None:
        """Set the time limits of the following reads.

        Args:
            stall_s: Maximum wait for the next bytes, seconds.
            total_s: Time limit for all following reads together, seconds.
            in_hurry: Returns whether the data must arrive with at least `HURRY_BYTES_S` now.
        """
        now = time.monotonic()
        self._stall_s = stall_s
        self._deadline = now + total_s
        self._in_hurry = in_hurry
        self._window = (now, 0)

    def readable(self) -> bool:
        """Return True, as the stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the bytes that have arrived, or wait for some.

        Raises:
            TimeoutError: When a time limit is exceeded.
            OSError: When the connection is broken.
        """
        stalled_at = time.monotonic() + self._stall_s
        while True:
            left_s = min(stalled_at, self._deadline) - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("the request takes too long")
            self._connection.settimeout(left_s if self._in_hurry is None else min(left_s, LOOK_S))
            try:
                size = self._connection.recv_into(buffer)
            except TimeoutError:
                self._check_rate(0)
            else:
                self._check_rate(size)
                return size

    def _check_rate(self, size: int) -> None:
        """Count the bytes that have arrived; raise TimeoutError when they are too slow while other requests wait."""
        since, count = self._window
        self._window = (since, count + size)
        if self._in_hurry is None or (seconds := time.monotonic() - since) < HURRY_WINDOW_S:
            return
        if count + size < seconds * HURRY_BYTES_S and self._in_hurry():
            raise TimeoutError("the request arrives too slowly while other requests wait for memory")
        self._window = (time.monotonic(), 0)
