"""How old the oldest waiting event is, whatever the wall clock does."""

from __future__ import annotations


class BacklogAge:
    """Turns the date of the oldest entry into an age that a clock that is set can't change.

    The date is on the wall clock. When the same entry is the oldest again, its age has grown by the time that passed;
    when another one is, that came later, so it is no older than the one before. Not safe for threads.
    """

    def __init__(self) -> None:
        self._put_at: float | None = None
        self._age_s = 0.0
        self._looked_at = 0.0

    def update(self, put_at: float | None, *, now: float, monotonic: float) -> float | None:
        """The age of the oldest entry now, seconds; None when nothing waits.

        Args:
            put_at: When the oldest entry was put, Unix seconds; None when nothing waits.
            now: Wall clock, Unix seconds.
            monotonic: Monotonic clock, seconds.
        """
        if put_at is None:
            self._put_at = None
            return None
        grown_s = self._age_s + monotonic - self._looked_at
        told_s = max(0.0, now - put_at)
        if self._put_at is None:
            age_s = told_s
        elif put_at == self._put_at:
            age_s = grown_s
        else:
            age_s = min(told_s, grown_s)
        self._put_at, self._age_s, self._looked_at = put_at, age_s, monotonic
        return age_s
