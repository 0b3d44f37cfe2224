"""Holds back the end of a request's body until the request before it has been answered."""

from __future__ import annotations

import threading

HOLD_S = 5.0
"""Longest wait with the last piece of a body, seconds. A receiver takes a sender that pauses for longer for a slow one,
and the memory of the body is its memory."""


class BodyGate:
    """Where the body of one request stands, and whether its last piece may be sent. For two threads.

    A receiver can't take a request whose body is not complete. So a request may be under way while the one before it is
    not answered yet, and still comes after it, whatever becomes of that one.

    Args:
        is_open: Whether nothing is held back.
        hold_s: Longest wait with the last piece, seconds.
    """

    def __init__(self, *, is_open: bool = False, hold_s: float = HOLD_S) -> None:
        self._hold_s = hold_s
        self._state = threading.Condition()
        self._open: bool | None = True if is_open else None
        self._handed = self._passed = False

    def open(self) -> None:
        """Let the last piece be sent."""
        self._decide(True)

    def withdraw(self) -> None:
        """Have the request broken off before its last piece, unless that was let go."""
        self._decide(False)

    def pass_last(self) -> bool:
        """Wait until the last piece may be sent; False when the request is to be broken off.

        Called by whoever sends, before the last piece. After `hold_s` nobody is waited for any longer.
        """
        with self._state:
            self._handed = True
            self._state.notify_all()
            if not self._state.wait_for(lambda: self._open is not None, self._hold_s):
                self._open = False
            self._passed = bool(self._open)
            return self._passed

    def end(self) -> None:
        """Say that the request is over, or that all of it was handed to the socket."""
        with self._state:
            self._handed = True
            self._state.notify_all()

    def wait_handed(self, timeout_s: float) -> bool:
        """Wait until everything but the last piece was handed to the socket; False when time ran out."""
        with self._state:
            return self._state.wait_for(lambda: self._handed, timeout_s)

    @property
    def is_open(self) -> bool:
        """Whether the last piece may be sent."""
        return bool(self._open)

    @property
    def is_withdrawn(self) -> bool:
        """Whether the request is broken off."""
        return self._open is False

    @property
    def is_passed(self) -> bool:
        """Whether the last piece was let go: before that, no receiver has the request."""
        return self._passed

    def _decide(self, is_open: bool) -> None:
        with self._state:
            if self._open is None:
                self._open = is_open
            self._state.notify_all()
