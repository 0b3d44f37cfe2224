"""Gate that holds back the end of a request's body until the previous request has been answered."""

from __future__ import annotations

import threading

HOLD_S = 5.0
"""Maximum time that the last piece of a body is held back, seconds. A receiver treats a sender that pauses for longer
as slow, and the incomplete body takes the receiver's memory meanwhile."""


class BodyGate:
    """Tracks how far the body of one request was sent, and whether its last piece may be sent.

    A receiver can't process a request whose body is incomplete. So a request can already be sent, except for its last
    piece, while the previous request is unanswered, and the receiver still processes the two in order. Two threads
    share the gate: one sends the request, and the other waits for the previous answer.

    Args:
        is_open: Whether the last piece may be sent from the start.
    """

    def __init__(self, *, is_open: bool = False) -> None:
        self._state = threading.Condition()
        self._open: bool | None = True if is_open else None
        self._handed = self._passed = False

    def open(self) -> None:
        """Allow the last piece to be sent."""
        self._decide(True)

    def withdraw(self) -> None:
        """Abort the request before its last piece, unless that piece was allowed already."""
        self._decide(False)

    def pass_last(self) -> bool:
        """Wait until the last piece may be sent; return False when the request is to be aborted.

        The sending thread calls this before the last piece. After `HOLD_S` without a decision the request is aborted.
        """
        with self._state:
            self._handed = True
            self._state.notify_all()
            if not self._state.wait_for(lambda: self._open is not None, HOLD_S):
                self._open = False
            self._passed = bool(self._open)
            return self._passed

    def end(self) -> None:
        """Signal that the request has ended, or that all of its body was handed to the socket."""
        with self._state:
            self._handed = True
            self._state.notify_all()

    def wait_handed(self, timeout_s: float) -> bool:
        """Wait until everything but the last piece was handed to the socket; return False on timeout."""
        with self._state:
            return self._state.wait_for(lambda: self._handed, timeout_s)

    @property
    def is_open(self) -> bool:
        """Whether the last piece may be sent."""
        return bool(self._open)

    @property
    def is_withdrawn(self) -> bool:
        """Whether the request is aborted."""
        return self._open is False

    @property
    def is_passed(self) -> bool:
        """Whether the last piece was allowed to be sent; before that, no receiver has the complete request."""
        return self._passed

    def _decide(self, is_open: bool) -> None:
        with self._state:
            if self._open is None:
                self._open = is_open
            self._state.notify_all()
