"""A source that runs in a thread of the test, by a clock that the test turns, and what it has to do with."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from eaves.events import Event
from eaves.sources.agent.counters import SourceCounters
from tests.fakes.clock import ManualClock
from tests.fakes.sources.sent_index import DictIndex
from tests.sources.contexts import build_context
from tests.waiting import wait_until


class Runnable(Protocol):
    """A source."""

    def run(self) -> None:
        """Run until the context says to stop."""


class TurnedSource:
    """Lets time pass for a source.

    Attributes:
        clock: The source's clock.
        index: Its memory of what it emitted.
        events: What it emitted.
        refusal: Gives the error that is raised for an event instead of taking it; None to take it.
        context: Its agent's context.
    """

    def __init__(self, clock: ManualClock, index: DictIndex | None, **values: Any) -> None:
        self.clock = clock
        self.index = index or DictIndex(clock)
        self.events: list[Event] = []
        self.refusal: Callable[[Event], Exception | None] = lambda event: None
        self.context = build_context(clock=clock, index=self.index, store=self._store, **values)

    @property
    def subjects(self) -> list[str]:
        """The images emitted, in order."""
        return [str(event.subject) for event in self.events]

    @property
    def counters(self) -> SourceCounters:
        """What the source does and has done."""
        return self.context.counters

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

    @contextmanager
    def run(self, source: Runnable) -> Iterator[None]:
        """Run the source in the block, which begins when it is idle."""
        thread = threading.Thread(target=source.run)
        thread.start()
        try:
            self.settle()
            yield
        finally:
            self.context.stop()
            thread.join(20)
            assert not thread.is_alive()

    def _store(self, event: Event) -> bool:
        if (error := self.refusal(event)) is not None:
            raise error
        self.index.put(event.id)
        self.events.append(event)
        return True
