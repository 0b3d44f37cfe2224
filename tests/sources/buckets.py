"""An s3 source that runs in a thread of the test, by a clock that the test turns, on a bucket in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eaves.events import Event
from eaves.sources.agent.context import AgentContext
from eaves.sources.agent.counters import SourceCounters
from eaves.sources.options import FrameOptions
from eaves.sources.s3.kind import S3SourceSettings
from eaves.sources.s3.source import S3Source
from tests.fakes.bucket import DictBucket
from tests.fakes.clock import ManualClock
from tests.fakes.sources.sent_index import DictIndex
from tests.sources.turned_source import TurnedSource
from tests.waiting import wait_until


class RunningBucket(TurnedSource):
    """The source, and what it has to do with.

    Attributes:
        events: What it emitted.
        refusal: Raised for each event instead of taking it, while it is set.
    """

    def __init__(
        self,
        stored: DictBucket,
        clock: ManualClock,
        index: DictIndex | None = None,
        *,
        options: FrameOptions | None = None,
        max_bytes: int = 20_000_000,
        **values: Any,
    ) -> None:
        self.bucket = stored
        self.clock = clock
        self.index = index or DictIndex(clock)
        self.events: list[Event] = []
        self.refusal: Exception | None = None
        self.context = AgentContext(
            "cam",
            site="test",
            index=self.index,
            store=self._store,
            max_bytes=max_bytes,
            spool_max_bytes=1_000_000_000,
            options=options,
            clock=clock,
        )
        settings = S3SourceSettings(**{"bucket": "s3://photos/", **values})
        self.s3_source = S3Source(settings, self.context, stored)

    def tell(self, *keys: str) -> None:
        """Name keys, as a notification does, and wait until the source has looked at them."""
        self.s3_source.hints.offer(keys)
        wait_until(lambda: len(self.s3_source.hints) == 0, what="a source that looks at hints")
        self.settle()

    @property
    def subjects(self) -> list[str]:
        """The images emitted, in order."""
        return [str(event.subject) for event in self.events]

    @property
    def counters(self) -> SourceCounters:
        """What the source does and has done."""
        return self.context.counters

    def _store(self, event: Event) -> bool:
        if self.refusal is not None:
            raise self.refusal
        self.index.put(event.id)
        self.events.append(event)
        return True


@contextmanager
def running(
    stored: DictBucket, clock: ManualClock, index: DictIndex | None = None, **values: Any
) -> Iterator[RunningBucket]:
    """Run a source on a bucket; `values` are settings of the bucket, `max_bytes`, and `options`."""
    made = RunningBucket(stored, clock, index, **values)
    thread = threading.Thread(target=made.s3_source.run)
    thread.start()
    try:
        made.settle()
        yield made
    finally:
        made.context.stop()
        thread.join(20)
        assert not thread.is_alive()
