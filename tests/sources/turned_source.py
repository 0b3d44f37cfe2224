"""A source that runs in a thread of the test, by a clock that the test turns."""

from __future__ import annotations

from tests.fakes.clock import ManualClock
from tests.waiting import wait_until


class TurnedSource:
    """Lets time pass for a source.

    Attributes:
        clock: The source's clock.
    """

    clock: ManualClock

    def settle(self) -> None:
        """Wait until the source has nothing to do before the clock is turned."""
        wait_until(lambda: (self.clock.next_due_s() or 0.0) > 0, 20, pause_s=0.001, what="an idle source")

    def advance(self, seconds: float) -> None:
        """Let time pass, from one thing the source waits for to the next."""
        end = self.clock.monotonic() + seconds
        while True:
            self.settle()
            left_s = end - self.clock.monotonic()
            if left_s <= 0:
                return
            self.clock.turn(min(left_s, (self.clock.next_due_s() or 0.0) + 0.001))
