"""Answers of a platform that pages share: kept for some seconds, however many pages ask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from eaves.base.clock import SYSTEM, Clock

T = TypeVar("T")


class ReusedAnswer(Generic[T]):
    """An answer that is used again for some time; of several threads that need a new one, one asks for it.

    Args:
        ask: Asks the platform.
        reuse_s: Time for which its answer is used again, seconds.
        clock: Clock for that time.
    """

    def __init__(self, ask: Callable[[], T], reuse_s: float, clock: Clock = SYSTEM) -> None:
        self._ask = ask
        self._reuse_s = reuse_s
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None

    def get(self) -> T:
        """Return the answer; the errors are those of `ask`, and aren't kept."""
        with self._lock:
            if self._kept is None or self._clock.monotonic() - self._kept[0] >= self._reuse_s:
                answer = self._ask()  # those who wait for it take it, however long it took
                self._kept = self._clock.monotonic(), answer
            return self._kept[1]

    def forget(self) -> None:
        """Ask again next time."""
        with self._lock:
            self._kept = None
