"""Memory for the bodies of requests: all that are read or stored at the same time share one bound."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eaves.errors import OverloadedError

Take = Callable[[int], None]
"""Takes so many bytes; raises OverloadedError when they aren't free."""


class MemoryBudget:
    """A number of bytes. For many threads.

    Args:
        max_bytes: How many may be taken at the same time.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def taken_bytes(self) -> int:
        """Bytes that are taken now."""
        return self._taken

    @contextmanager
    def share(self) -> Iterator[Take]:
        """What a request takes; all of it is free again afterwards."""
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            with self._lock:
                if self._taken + size > self._max_bytes:
                    raise OverloadedError(f"events of more than {self._max_bytes} bytes come at the same time")
                self._taken += size
                mine += size

        try:
            yield take
        finally:
            with self._lock:
                self._taken -= mine
