"""Memory for the bodies of requests: all that are read or stored at the same time share one bound."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eaves.errors import OverloadedError

WAIT_S = 2.0
"""How long one request waits for memory that others have, seconds."""

Take = Callable[[int], None]
"""Takes so many bytes; raises OverloadedError when they aren't free."""


class MemoryBudget:
    """A number of bytes. For many threads.

    When all are taken, the first request that needs more waits for it until it is done, and the others that need more
    are refused, which makes its room. Were all of them refused, many large requests at once would end each other, each
    time they come again.

    Args:
        max_bytes: How many may be taken at the same time.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._taken = 0
        self._changed = threading.Condition()
        self._waiting: object = None

    @property
    def taken_bytes(self) -> int:
        """Bytes that are taken now."""
        return self._taken

    @contextmanager
    def share(self) -> Iterator[Take]:
        """What a request takes; all of it is free again afterwards."""
        mine, me = 0, object()

        def take(size: int) -> None:
            nonlocal mine
            with self._changed:
                if self._taken + size > self._max_bytes and not self._wait(me, size):
                    raise OverloadedError(f"events of more than {self._max_bytes} bytes come at the same time")
                self._taken += size
                mine += size

        try:
            yield take
        finally:
            with self._changed:
                self._taken -= mine
                if self._waiting is me:
                    self._waiting = None
                self._changed.notify_all()

    def _wait(self, me: object, size: int) -> bool:
        """Wait until so many bytes are free; whether they are. Its caller holds the lock."""
        if self._waiting is None:
            self._waiting = me
        if self._waiting is not me:
            return False
        deadline = time.monotonic() + WAIT_S
        while self._taken + size > self._max_bytes:
            if not self._changed.wait(deadline - time.monotonic()):
                return False
        return True
