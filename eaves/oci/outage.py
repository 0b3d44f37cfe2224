"""While a registry is out of reach: the reason in a few words, and what a person who waits is told."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable

from eaves.errors import RegistryError

FIRST_SAID_S = 3.0
"""A pause that is shorter is nothing to tell anybody."""
SAID_EVERY_S = 30.0
_REASONS = {
    errno.ENETUNREACH: "no route",
    errno.ENETDOWN: "no route",
    errno.EHOSTUNREACH: "no route",
    errno.EHOSTDOWN: "no route",
    errno.ECONNREFUSED: "connection refused",
    errno.ETIMEDOUT: "no answer",
}


class DownloadError(RegistryError):
    """A download that was given up, because no byte of it came any more."""


class Outage:
    """What is told of the downloads from one registry while nothing arrives; safe to use from many threads.

    Args:
        say: Told, a line each time.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._downloads: dict[object, tuple[int, int]] = {}
        self._moved_at = self._next_at = 0.0
        self._said = False

    def begin(self, download: object, got: int, size: int) -> None:
        """A download begins.

        Args:
            download: Tells it from others.
            got: Bytes of it that are here.
            size: Bytes that it will have.
        """
        with self._lock:
            if not self._downloads:
                self._moved()
            self._downloads[download] = (got, size)

    def end(self, download: object) -> None:
        """A download has ended."""
        with self._lock:
            self._downloads.pop(download, None)

    def moved(self, download: object, got: int, size: int) -> None:
        """Bytes have come."""
        with self._lock:
            said, lasted_s = self._said, time.monotonic() - self._moved_at
            self._moved()
            self._downloads[download] = (got, size)
            here = self._here()
        if said:
            self._say(f"the registry answers again after {lasted_s:.0f} s; the download goes on at {here}")

    def wait(self, reason: str) -> None:
        """Nothing comes; call this again and again meanwhile.

        Args:
            reason: As `describe_outage` has it.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._next_at or not self._downloads:
                return
            self._said, self._next_at = True, now + SAID_EVERY_S
            lasted_s, here = now - self._moved_at, self._here()
        self._say(f"waiting for the registry: {reason} ({lasted_s:.0f} s); {here} are here")

    def _moved(self) -> None:
        self._moved_at = time.monotonic()
        self._next_at, self._said = self._moved_at + FIRST_SAID_S, False

    def _here(self) -> str:
        amounts = self._downloads.values()
        return describe_amount(sum(got for got, _ in amounts), sum(size for _, size in amounts))


def describe_amount(got: int, size: int) -> str:
    """So much of so much: `3.1 of 15.2 MB`."""
    unit, name = (1e6, "MB") if size >= 100_000 else (1e3, "KB")
    return f"{got / unit:.1f} of {size / unit:.1f} {name}"


def describe_outage(error: BaseException) -> str:
    """Why the registry is out of reach, in a few words: `no route`.

    Args:
        error: Of the connection; what it was raised from, or holds as an argument, says more.
    """
    # Here and not above: the Dockerfile's stages read and write layers without urllib3.
    from urllib3.exceptions import NameResolutionError
    from urllib3.exceptions import TimeoutError as HttpTimeoutError

    seen: list[BaseException] = []
    todo = [error]
    while todo and len(seen) < 20:
        one = todo.pop(0)
        seen.append(one)
        inner = (one.__cause__, one.__context__, *one.args, getattr(one, "reason", None))
        todo += [other for other in inner if isinstance(other, BaseException) and other not in seen]
    for one in seen:
        if isinstance(one, NameResolutionError):
            return "its name can't be resolved"
        if isinstance(one, OSError) and one.errno in _REASONS:
            return _REASONS[one.errno]
    if any(isinstance(one, HttpTimeoutError | TimeoutError) for one in seen):
        return "no answer"
    return "the connection breaks off"
