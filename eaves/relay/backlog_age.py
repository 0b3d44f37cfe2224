"""Age of the oldest waiting event, independent of changes of the wall clock."""

from __future__ import annotations


class BacklogAge:
    """Computes the age of the oldest waiting entry so that it doesn't jump when the wall clock is set.

    The time at which an entry was put is wall-clock time. While the same entry stays the oldest, its age grows by the
    monotonic time that passed.
    When another entry becomes the oldest, it arrived later, so it is no older than the one before. Not thread-safe.
    """

    def __init__(self) -> None:
        self._put_at: float | None = None
        self._age_s = 0.0
        self._looked_at = 0.0

    def update(self, put_at: float | None, *, now: float, monotonic: float) -> float | None:
        """Return the age of the oldest entry, seconds; None when nothing waits.

        Args:
            put_at: When the oldest entry was put into the spool, Unix seconds; None when nothing waits.
            now: Wall-clock time, Unix seconds.
            monotonic: Monotonic time, seconds.
        """
        if put_at is None:
            self._put_at = None
            return None
        grown_s = self._age_s + monotonic - self._looked_at
        clock_age_s = max(0.0, now - put_at)
        if self._put_at is None:
            age_s = clock_age_s
        elif put_at == self._put_at:
            age_s = grown_s
        else:
            age_s = min(clock_age_s, grown_s)
        self._put_at, self._age_s, self._looked_at = put_at, age_s, monotonic
        return age_s
