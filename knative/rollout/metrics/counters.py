"""What the replicas of a revision have answered, added up over pods that come, go and start again. Pure.

Replicas count since their own start, and at the edge they stop whenever nothing comes. So what a pod counted is added
to its revision as the difference to what was seen of it before; a process that started again counts from zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from knative.rollout.metrics.windows import WINDOW_S, StepWindows, Window, worst_of

UNKNOWN = -1
"""Restarts of a pod that couldn't be read when a step began: what it had counted until then, nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCounters:
    """Requests answered.

    Attributes:
        answered: With a prediction.
        failed: With a 5xx that is the revision's own, and crashes of a replica, which answer nothing.
        refused: With a 4xx: the sender's fault, or too much at once. Never held against a revision.
        timed: Predictions whose time is in `seconds`.
        seconds: What they took, without waiting for their turn.
    """

    answered: int = 0
    failed: int = 0
    refused: int = 0
    timed: int = 0
    seconds: float = 0.0

    def __add__(self, other: RequestCounters) -> RequestCounters:
        return RequestCounters(
            answered=self.answered + other.answered,
            failed=self.failed + other.failed,
            refused=self.refused + other.refused,
            timed=self.timed + other.timed,
            seconds=round(self.seconds + other.seconds, 6),
        )

    def __sub__(self, other: RequestCounters) -> RequestCounters:
        """What came since; never below zero."""
        return RequestCounters(
            answered=max(0, self.answered - other.answered),
            failed=max(0, self.failed - other.failed),
            refused=max(0, self.refused - other.refused),
            timed=max(0, self.timed - other.timed),
            seconds=max(0.0, round(self.seconds - other.seconds, 6)),
        )

    @property
    def judged(self) -> int:
        """Requests that say something of the revision."""
        return self.answered + self.failed

    @property
    def error_rate(self) -> float:
        """Share of those that failed."""
        return self.failed / self.judged if self.judged else 0.0

    @property
    def mean_ms(self) -> float:
        """Of a prediction."""
        return self.seconds * 1000 / self.timed if self.timed else 0.0

    def covers(self, other: RequestCounters) -> bool:
        """Whether this may be a later count of the same process."""
        pairs = ((self.answered, other.answered), (self.failed, other.failed), (self.timed, other.timed))
        return all(later >= earlier for later, earlier in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsReading:
    """What one pod says.

    Attributes:
        pod: Its name.
        revision: Whose it is.
        restarts: How often its function has been started again.
        crashed: Whether it ended by itself the last time, not with its node.
        tally: Counted since the process started.
        slowest: About the slowest of its predictions: `timed` of them (one of each kind) took `seconds`.
    """

    pod: str
    revision: str
    restarts: int = 0
    crashed: bool = False
    tally: RequestCounters = field(default_factory=RequestCounters)
    slowest: RequestCounters = field(default_factory=RequestCounters)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodReading:
    """What a pod said last."""

    restarts: int = 0
    tally: RequestCounters = field(default_factory=RequestCounters)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionCounts:
    """What is known so far.

    Attributes:
        totals: All that was seen of each revision.
        base: The part of it that came before the present step.
        seen: What each pod said last.
        windows: What is kept of the present step's windows.
    """

    totals: Mapping[str, RequestCounters] = field(default_factory=dict)
    base: Mapping[str, RequestCounters] = field(default_factory=dict)
    seen: Mapping[str, PodReading] = field(default_factory=dict)
    windows: StepWindows = field(default_factory=StepWindows)

    def total(self, revision: str) -> RequestCounters:
        """Since the rollout looks at it."""
        return self.totals.get(revision, RequestCounters())

    def step(self, revision: str) -> RequestCounters:
        """In the present step."""
        return self.total(revision) - self.base.get(revision, RequestCounters())

    def window(self) -> Window:
        """What each revision answered in the open window."""
        base = self.windows.base if self.windows.since else self.base
        return {name: total - base.get(name, RequestCounters()) for name, total in self.totals.items()}

    def steady(self, new: str, old: str, *, apart_from: str) -> tuple[RequestCounters, RequestCounters]:
        """Both revisions in the present step, without the windows in which most of one's requests failed.

        Args:
            new: One revision.
            old: The other one.
            apart_from: The revision whose failures name the windows; both revisions' requests in them are left out.
        """
        left_out = worst_of(apart_from, (*self.windows.worst.get(apart_from, ()), self.window()))
        kept = [self.step(new), self.step(old)]
        for window in left_out:
            kept = [tally - window.get(name, RequestCounters()) for name, tally in zip((new, old), kept, strict=True)]
        return kept[0], kept[1]

    def close_window(self, now: float, since: float) -> RevisionCounts:
        """End the open window if it has lasted its time and has seen a request.

        Args:
            now: Unix seconds. A clock that went back makes a window longer, never shorter.
            since: When the present step began.
        """
        began = self.windows.since or since
        if now < began:
            base = self.windows.base if self.windows.since else self.base
            return replace(self, windows=replace(self.windows, since=now, base=base))
        window = self.window()
        if now - began < WINDOW_S or not any(tally.judged for tally in window.values()):
            return self
        return replace(self, windows=self.windows.close(window, self.totals, now))

    def begin_step(self, unread: Iterable[str] = ()) -> RevisionCounts:
        """Count from here.

        Args:
            unread: Pods that are there and couldn't be read.
        """
        unknown = {pod: PodReading(restarts=UNKNOWN) for pod in unread if pod not in self.seen}
        return replace(self, base=dict(self.totals), seen={**self.seen, **unknown}, windows=StepWindows())


def accumulate(counts: RevisionCounts, readings: Iterable[MetricsReading], present: Iterable[str]) -> RevisionCounts:
    """Add what pods say now.

    Args:
        counts: So far.
        readings: Of the pods that could be read.
        present: Every pod there is; what was seen of others is forgotten, it is in the totals.
    """
    totals, base, open_base = dict(counts.totals), dict(counts.base), dict(counts.windows.base)
    kept = set(present)
    seen = {pod: last for pod, last in counts.seen.items() if pod in kept}
    for reading in readings:
        last = seen.get(reading.pod)
        gained = _gained(reading, last)
        totals[reading.revision] = totals.get(reading.revision, RequestCounters()) + gained
        if last is not None and last.restarts == UNKNOWN:
            base[reading.revision] = base.get(reading.revision, RequestCounters()) + gained
            open_base[reading.revision] = open_base.get(reading.revision, RequestCounters()) + gained
        seen[reading.pod] = PodReading(restarts=reading.restarts, tally=reading.tally)
    return RevisionCounts(totals=totals, base=base, seen=seen, windows=replace(counts.windows, base=open_base))


def _gained(reading: MetricsReading, last: PodReading | None) -> RequestCounters:
    """What is new in a reading.

    A crash counts as a request that failed: whoever waited for its answer got none, and the process that would have
    counted it is gone. Of crashes before a pod was first looked at, one.

    The first prediction of a process is left out of the times: it waits for weights to come from the disk and runs
    beside the golden check. A revision at 10 % of few requests starts from zero far more often than the one at 90 %,
    and would look slow for that alone.
    """
    known = last if last is not None and last.restarts != UNKNOWN else PodReading()
    restarts = max(0, reading.restarts - known.restarts)
    crashes = RequestCounters(failed=(min(1, restarts) if last is None else restarts) if reading.crashed else 0)
    same = known.restarts == reading.restarts and reading.tally.covers(known.tally)
    gained = reading.tally - known.tally if same else reading.tally
    if not (same and known.tally.timed):
        gained = replace(
            gained,
            timed=max(0, gained.timed - reading.slowest.timed),
            seconds=max(0.0, round(gained.seconds - reading.slowest.seconds, 6)),
        )
    return gained + crashes if crashes.failed else gained
