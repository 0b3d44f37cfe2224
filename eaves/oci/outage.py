"""Messages while a registry can't be reached: the reason, and the progress of the downloads that wait."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable

from eaves.errors import RegistryError

FIRST_REPORT_S = 3.0
"""Time without arriving bytes after which the first message is printed, seconds."""
REPORT_EVERY_S = 30.0
_REASONS = {
    errno.ENETUNREACH: "no route",
    errno.ENETDOWN: "no route",
    errno.EHOSTUNREACH: "no route",
    errno.EHOSTDOWN: "no route",
    errno.ECONNREFUSED: "connection refused",
    errno.ETIMEDOUT: "no answer",
}


class DownloadError(RegistryError):
    """Error of a download that was given up because no more bytes arrived."""


class Outage:
    """Messages about all downloads from one registry while none of them receives bytes. Thread-safe.

    Args:
        say: Function that is called with each line.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._downloads: dict[object, tuple[int, int]] = {}
        self._moved_at = self._next_at = 0.0
        self._reported = False

    def begin(self, download: object, got: int, size: int) -> None:
        """Record that a download begins.

        Args:
            download: Key that identifies the download.
            got: Number of bytes that were downloaded before.
            size: Total size in bytes.
        """
        with self._lock:
            if not self._downloads:
                self._moved()
            self._downloads[download] = (got, size)

    def end(self, download: object) -> None:
        """Record that a download has ended."""
        with self._lock:
            self._downloads.pop(download, None)

    def moved(self, download: object, got: int, size: int) -> None:
        """Record that further bytes of a download have arrived."""
        with self._lock:
            was_reported, lasted_s = self._reported, time.monotonic() - self._moved_at
            self._moved()
            self._downloads[download] = (got, size)
            here = self._here()
        if was_reported:
            self._say(f"the registry answers again after {lasted_s:.0f} s; the download continues at {here}")

    def wait(self, reason: str) -> None:
        """Report that no bytes arrive; a download calls this method repeatedly while it waits.

        Args:
            reason: Reason as `describe_outage` returns it.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._next_at or not self._downloads:
                return
            self._reported, self._next_at = True, now + REPORT_EVERY_S
            lasted_s, here = now - self._moved_at, self._here()
        self._say(f"waiting for the registry: {reason} ({lasted_s:.0f} s); {here} downloaded")

    def _moved(self) -> None:
        self._moved_at = time.monotonic()
        self._next_at, self._reported = self._moved_at + FIRST_REPORT_S, False

    def _here(self) -> str:
        amounts = self._downloads.values()
        return describe_amount(sum(got for got, _ in amounts), sum(size for _, size in amounts))


def describe_amount(got: int, size: int) -> str:
    """Return a number of bytes and their total as text, such as `3.1 of 15.2 MB`."""
    unit, name = (1e6, "MB") if size >= 100_000 else (1e3, "KB")
    return f"{got / unit:.1f} of {size / unit:.1f} {name}"


def describe_outage(error: BaseException) -> str:
    """Return in a few words why the registry is out of reach, such as `no route`.

    Args:
        error: Exception of the connection; its causes and arguments are examined too.
    """
    # Imported here, because the Dockerfile's stages read and write layers without urllib3.
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
    return "the connection was interrupted"
