"""Pauses between attempts: one bounded exponential back-off for every part that retries."""

from __future__ import annotations

from dataclasses import dataclass

MAX_RETRY_AFTER_S = 3600.0
"""Maximum pause that a Retry-After header may ask for, seconds; a longer one is cut to this."""
MAX_DOUBLINGS = 63
"""Maximum number of times that a pause is doubled. A part that fails for a month counts thousands of failures, and
2.0**1024 raises OverflowError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Maximum number of retries, and the exponentially growing pauses between them.

    Attributes:
        retry: Maximum number of attempts after the first; None for no limit.
        first_s: Pause before the first retry, seconds; it doubles each time.
        cap_s: Maximum pause when the server sends no Retry-After, seconds.
    """

    retry: int | None = 6
    first_s: float = 0.5
    cap_s: float = 30.0

    def exhausted(self, failures: int) -> bool:
        """Return whether no attempt is left after this many failures."""
        return self.retry is not None and failures > self.retry

    def pause_s(self, failures: int, *, jitter: float = 1.0, retry_after_s: float | None = None) -> float:
        """Return the pause after this many failed attempts, seconds.

        Half of the pause is fixed and half is scaled by `jitter`, so that many senders don't retry at the same time and
        none retries at once. Retry-After can only make the pause longer.
        Source: "equal jitter" in Brooker, Exponential Backoff and Jitter (AWS Architecture Blog, 2015).

        Args:
            failures: Number of failed attempts so far, from 1; any size.
            jitter: A random number in [0, 1); 1 for the whole pause.
            retry_after_s: Pause that the server asked for, limited to an hour.
        """
        pause_s = min(self.cap_s, self.first_s * 2.0 ** min(max(failures - 1, 0), MAX_DOUBLINGS))
        pause_s *= 0.5 + 0.5 * jitter
        return max(pause_s, min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))


UNLIMITED = Backoff(retry=None)
"""Back-off of a queue that keeps its events until they are delivered, however long that takes."""
