"""Counters and state of one source since its process started, for `eaves status`."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from types import MappingProxyType

from eaves.admin.report import NOT_STARTED, SourceReport
from eaves.base.clock import Clock
from eaves.redact import redact
from eaves.sources.context import ERRORS, Cause

HOUR_S = 3600.0
MAX_RECONNECTS = 3_600
"""Maximum number of reconnections within an hour that are counted: one per second."""
MIN_UNUSABLE = 10
"""Number of images that are dropped for an error, one after the other, at which a source that has captured images
counts as capturing none. Before the first captured image, one is enough."""
MAX_TEXT = 256
"""Maximum number of characters that are kept of a reason or an error."""


class SourceCounters:
    """Counters and state of one source; they become its report. Safe to use from any thread.

    Args:
        clock: Wall clock and monotonic clock.

    Attributes:
        unusable: Why every image is dropped; empty while images are captured, and while an option leaves them out.
        captured: Number of images that were stored.
        last_captured_at: Time at which the last image was stored, Unix seconds; None before the first image.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._state, self._reason = NOT_STARTED
        self._failure = ""
        self.captured = 0
        self.last_captured_at: float | None = None
        self._dropped: Counter[str] = Counter()
        self.unusable, self._unusable_images = "", 0
        self._reconnects: deque[float] = deque(maxlen=MAX_RECONNECTS)
        self._error, self._error_at = "", 0.0

    @property
    def state(self) -> str:
        """State of the source.

        It is `failed` while the source waits for a restart after an error of its own, and `waiting` while every image
        is dropped for an error.
        """
        if self._failure:
            return "failed"
        return "waiting" if self.unusable and self._state == "watching" else self._state

    @property
    def reason(self) -> str:
        """Why the source captures nothing now; empty while it captures."""
        if self.unusable and self._state in ("watching", "finished"):
            return self._failure or self.unusable
        return self._failure or self._reason

    @property
    def dropped(self) -> Mapping[str, int]:
        """Numbers of dropped images, by cause."""
        with self._lock:
            return MappingProxyType(dict(self._dropped))

    @property
    def reconnects(self) -> int:
        """Number of reconnections in the last hour."""
        with self._lock:
            since = self._clock.monotonic() - HOUR_S
            return sum(at > since for at in self._reconnects)

    @property
    def last_error(self) -> tuple[str, float] | None:
        """Last reason why the source captured nothing, and the time when that began, Unix seconds; None without one."""
        with self._lock:
            return (self._error, self._error_at) if self._error else None

    def report(self, name: str) -> SourceReport:
        """Return the report on the source, which has this name."""
        now, at, error = self._clock.now(), self.last_captured_at, self.last_error
        return SourceReport(
            name=name,
            state=self.state,
            reason=self.reason,
            captured=self.captured,
            dropped=self.dropped,
            last_captured_at=at,
            last_captured_age_s=None if at is None else max(0.0, now - at),
            reconnects=self.reconnects,
            last_error=error[0] if error else "",
            last_error_age_s=max(0.0, now - error[1]) if error else None,
        )

    def count_captured(self) -> None:
        """Count an image that was stored."""
        with self._lock:
            self.captured += 1
            self.last_captured_at = self._clock.now()
            self.unusable, self._unusable_images = "", 0

    def count_dropped(self, cause: Cause, count: int = 1, *, reason: str = "") -> None:
        """Count images that were dropped.

        Args:
            cause: Why they were dropped.
            count: Number of images.
            reason: What is wrong with an image to which the options were applied. Without a reason, the source dropped
                it, which says nothing about other images once one was captured: topics and folders may hold more than
                images.
        """
        with self._lock:
            self._dropped[cause] += count
            if cause == "unchanged":  # the options were applied to this image without an error
                self.unusable, self._unusable_images = "", 0
            elif cause in ERRORS and (reason or not self.captured):
                self._unusable_images += count
                if not self.captured or self._unusable_images >= MIN_UNUSABLE:
                    self._note_unusable(reason or ERRORS[cause])

    def _note_unusable(self, reason: str) -> None:
        since = " since the last captured one" if self.captured else ""
        began, self.unusable = not self.unusable, _shorten(f"every image{since} was dropped: {reason}")
        if began:
            self._set_error(self.unusable)

    def count_reconnect(self) -> None:
        """Count a reconnection."""
        with self._lock:
            self._reconnects.append(self._clock.monotonic())

    def change_state(self, state: str, reason: str) -> bool:
        """Store what the source does now, with passwords removed from the reason; return whether it has changed."""
        reason = _shorten(reason)
        with self._lock:
            if (state, reason) == (self._state, self._reason):
                return False
            self._state, self._reason = state, reason
            self._set_error(reason)
            return True

    def fail(self, failure: str) -> None:
        """Store the error with which the source ended; an empty text when it is restarted."""
        failure = _shorten(failure)
        with self._lock:
            self._failure = failure
            self._set_error(failure)

    def _set_error(self, error: str) -> None:
        if error:
            self._error, self._error_at = error, self._clock.now()


def _shorten(text: str) -> str:
    return redact(text)[:MAX_TEXT]
