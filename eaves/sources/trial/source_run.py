"""Runs a source with the agent's own context until it has captured an image, and keeps the events in memory."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from eaves.credentials.redact import redact
from eaves.events import Event
from eaves.http_client.proxies import Proxies
from eaves.sources.agent.configuration import ConfiguredSource
from eaves.sources.agent.context import AgentContext
from eaves.sources.agent.counters import NOT_STARTED, SourceCounters
from eaves.sources.agent.supervision import SupervisedSource, stop_sources
from eaves.sources.context import SourceContext
from eaves.sources.settings import ATTRIBUTES_BYTES

TICK_S = 0.05
"""Interval between two looks at the state of the source, seconds."""
MAX_NOTES = 5
MAX_ARRIVALS = 1_000

End = Literal["image", "reason", "idle", "finished", "timeout"]
"""Why a run ended. `image`: enough images came. `reason`: the source reported why it can't capture. `idle`: it works,
and has found nothing. `finished`: it played its recording. `timeout`: the time is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRun:
    """What a source did.

    Attributes:
        end: Why the run ended.
        reason: What the source reported last; empty when it captures.
        event: Event of the first image; None without an image.
        arrivals: Monotonic time of each image after the start, seconds.
        dropped: Numbers of dropped images, by cause.
        notes: First messages that the source logged.
    """

    end: End
    reason: str = ""
    event: Event | None = None
    arrivals: tuple[float, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """When a run ends.

    Attributes:
        deadline: Monotonic time at which it ends, seconds.
        images: Number of images after which it ends.
        watch_s: Time after the first image in which the others are waited for, seconds.
        persistent_s: Time for which the source must report the same reason until the run ends, seconds.
        measure_s: Minimum time from the first image to the end, seconds, so that the rate of images can be measured.
        idle_s: Time without an image after which a source that reports no fault has nothing to capture, seconds; None
            to wait until the deadline.
    """

    deadline: float
    images: int = 1
    watch_s: float = 0.0
    persistent_s: float = 0.0
    measure_s: float = 0.0
    idle_s: float | None = None


class MemoryIndex:
    """Implements `eaves.sources.index.SentIndex` for one process: no image counts as sent before."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    @property
    def added(self) -> int:
        """Number of ids that were added."""
        return len(self._ids)

    def seen(self, source: str, event_id: str) -> bool:
        """Return whether the event was emitted before by this process."""
        return event_id in self._ids

    def remember(self, source: str, event_ids: Collection[str]) -> None:
        """Remember ids as if their events had been emitted."""
        self._ids.update(event_ids)

    def touch(self, source: str, event_ids: Collection[str]) -> int:
        """Return how many of the events were emitted before."""
        return sum(event_id in self._ids for event_id in event_ids)

    def forget(self, before: float) -> int:
        """Do nothing: the process is too short for a memory that grows."""
        return 0


class _Arrivals:
    """Events of a source, of which only the first is kept; `store` may be called in any thread."""

    def __init__(self, index: MemoryIndex, images: int) -> None:
        self.first: Event | None = None
        self.times: list[float] = []
        self.enough = threading.Event()
        self._index = index
        self._images = images
        self._began = time.monotonic()

    @property
    def first_at(self) -> float:
        """Monotonic time of the first image, seconds."""
        return self._began + self.times[0]

    def store(self, event: Event) -> bool:
        if self._index.seen(event.source, event.id) or len(self.times) >= MAX_ARRIVALS:
            return False
        self._index.remember(event.source, [event.id])
        self.first = self.first or event
        self.times.append(time.monotonic() - self._began)
        if len(self.times) >= self._images:
            self.enough.set()
        return True


def run_source(
    configured: ConfiguredSource,
    run: Callable[[SourceContext], None],
    limits: RunLimits,
    *,
    site: str,
    proxies: Proxies,
    is_over: Callable[[], bool] = lambda: False,
) -> SourceRun:
    """Run a source exactly as an agent would, except that the option `hours` is left out.

    Args:
        configured: Settings of the source.
        run: Function that captures images, that of the kind.
        limits: When the run ends.
        site: Name of the site, which is part of the events' source.
        proxies: HTTP proxies of the process.
        is_over: Called from time to time; returns whether the caller already knows why there is no image.
    """
    index = MemoryIndex()
    arrivals = _Arrivals(index, limits.images)
    context = AgentContext(
        configured.common.name,
        site=site,
        index=index,
        store=arrivals.store,
        max_bytes=configured.common.max_bytes,
        spool_max_bytes=configured.common.max_bytes + ATTRIBUTES_BYTES,
        credentials=configured.common.credentials,
        proxies=proxies,
        options=replace(configured.options, hours=()),
    )
    source = SupervisedSource(run, context)
    with _kept_log() as notes:
        source.start()
        try:
            end = _wait(arrivals, source.counters, limits, is_over)
        finally:
            reason = _find_reason(source.counters)
            stop_sources([source])
    return SourceRun(
        end=end,
        reason=reason if (source.counters.state, reason) != NOT_STARTED else "",
        event=arrivals.first,
        arrivals=tuple(arrivals.times),
        dropped=source.counters.dropped,
        notes=tuple(notes[:MAX_NOTES]),
    )


def _wait(arrivals: _Arrivals, counters: SourceCounters, limits: RunLimits, is_over: Callable[[], bool]) -> End:
    """Wait until a run has to end, and return why."""
    reason, since = "", time.monotonic()
    while not arrivals.enough.wait(TICK_S):
        now = time.monotonic()
        if (counters.state, counters.reason) == NOT_STARTED:
            since = now
        elif _find_reason(counters) != reason:
            reason, since = _find_reason(counters), now
        if arrivals.times and now - arrivals.first_at >= limits.watch_s:
            return "image"
        if counters.state == "finished":
            return "image" if arrivals.times else "finished"
        if is_over():
            return "reason"
        if reason and not arrivals.times and now - since >= limits.persistent_s:
            return "reason"
        if not reason and not arrivals.times and limits.idle_s is not None and now - since >= limits.idle_s:
            return "idle"
        if now >= limits.deadline:
            return "image" if arrivals.times else "timeout"
    time.sleep(max(0.0, arrivals.first_at + limits.measure_s - time.monotonic()))
    return "image"


def _find_reason(counters: SourceCounters) -> str:
    """Return the reason that the source reported; a dropped image is none, because a later one may be captured."""
    return "" if counters.reason == counters.unusable else counters.reason


class _NotesHandler(logging.Handler):
    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._notes) < MAX_NOTES and " is waiting: " not in record.getMessage():
            self._notes.append(redact(record.getMessage())[:512])


@contextmanager
def _kept_log() -> Iterator[list[str]]:
    """Keep the warnings of Eaves' loggers within the block in a list, in place of printing them."""
    notes: list[str] = []
    logger = logging.getLogger("eaves")
    handler, propagated = _NotesHandler(notes), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield notes
    finally:
        logger.propagate = propagated
        logger.removeHandler(handler)
