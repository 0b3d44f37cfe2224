"""Waiting by polling with a deadline, so that no test sleeps a guessed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout_s: float = 10.0, *, pause_s: float = 0.01, what: str = "") -> T:
    """Call `predicate` until it returns something true, and return that.

    Args:
        predicate: Cheap and free of side effects.
        timeout_s: Seconds before the test fails.
        pause_s: Seconds between two calls.
        what: What is waited for, in the failure's message.

    Raises:
        AssertionError: When the deadline passes first, with the last value seen.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            name = what or getattr(predicate, "__qualname__", repr(predicate))
            raise AssertionError(f"waited {timeout_s:g} s in vain for {name}; last seen: {value!r}")
        time.sleep(pause_s)
