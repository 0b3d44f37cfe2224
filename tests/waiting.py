"""Waiting by polling with a deadline, so that no test sleeps a guessed time."""

import time
from collections.abc import Callable
from pathlib import Path
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


def is_waited_for(path: Path) -> bool:
    """Whether somebody waits for the lock of a file or folder.

    Source: proc(5), /proc/locks: `->` marks one who waits.
    """
    number = f":{path.stat().st_ino} "
    return any("->" in line and number in line for line in Path("/proc/locks").read_text().splitlines())
