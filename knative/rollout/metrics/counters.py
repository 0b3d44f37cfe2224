"""Requests answered by the replicas of a revision, added up over pods that come, go and restart. Pure.

Each replica counts from its own start, and at the edge replicas stop whenever no requests come. So the increase since
the previous reading of a pod is added to the total of its revision; after a restart, the count itself is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from knative.rollout.metrics.windows import WINDOW_S, StepWindows, Window, worst_of

UNKNOWN = -1
"""Number of restarts that is stored for a pod which couldn't be read when a step began, so that its counters at that
time are unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCounters:
    """Numbers of requests by their result, and times of predictions.

    Attributes:
        answered: Requests that were answered with a prediction.
        failed: Requests that the revision answered with a 5xx by its own fault, and crashes of a replica, whose request
            gets no answer.
        refused: Requests that were answered with a 4xx and that the sender doesn't send again: not 408, 409 and 429,
            which the moment causes.
        timed: Predictions whose time is in `seconds`.
        seconds: Total time of those predictions, without waiting in the queue.
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
        """Return the increase from another count to this one; no number is below zero."""
        return RequestCounters(
            answered=max(0, self.answered - other.answered),
            failed=max(0, self.failed - other.failed),
            refused=max(0, self.refused - other.refused),
            timed=max(0, self.timed - other.timed),
            seconds=max(0.0, round(self.seconds - other.seconds, 6)),
        )

    @property
    def judged(self) -> int:
        """Number of requests that count for the assessment: answered and failed ones."""
        return self.answered + self.failed

    @property
    def error_rate(self) -> float:
        """Share of failed requests among those that were answered or failed."""
        return self.failed / self.judged if self.judged else 0.0

    @property
    def mean_ms(self) -> float:
        """Mean time of a prediction in milliseconds."""
        return self.seconds * 1000 / self.timed if self.timed else 0.0

    @property
    def refusals(self) -> RequestCounters:
        """These counts with the refused requests as the failed ones, for the judge of refusals."""
        return RequestCounters(answered=self.judged, failed=self.refused)

    def covers(self, other: RequestCounters) -> bool:
        """Return whether these counts may be later counts of the same process as `other`, because none is smaller."""
        return (
            self.answered >= other.answered
            and self.failed >= other.failed
            and self.refused >= other.refused
            and self.timed >= other.timed
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsReading:
    """The counters of one pod at one moment.

    Attributes:
        pod: Name of the pod.
        revision: Revision of the pod.
        restarts: Number of restarts of the function's container in the pod.
        crashed: Whether the container's last restart was caused by a crash of its process, and not by its node.
        tally: Requests since the process started.
        slowest: Estimated time of the slowest prediction of an image plus that of the slowest prediction of a tensor,
            in `seconds`; `timed` is the number of these predictions, 0 to 2.
    """

    pod: str
    revision: str
    restarts: int = 0
    crashed: bool = False
    tally: RequestCounters = field(default_factory=RequestCounters)
    slowest: RequestCounters = field(default_factory=RequestCounters)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodReading:
    """The previous reading of a pod: its restarts and its counts."""

    restarts: int = 0
    tally: RequestCounters = field(default_factory=RequestCounters)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionCounts:
    """The requests of all revisions that were counted since the rollout began.

    Attributes:
        totals: All counted requests of each revision.
        base: Counts of each revision when the present step began.
        seen: The last reading of each pod.
        windows: Time windows of the present step.
    """

    totals: Mapping[str, RequestCounters] = field(default_factory=dict)
    base: Mapping[str, RequestCounters] = field(default_factory=dict)
    seen: Mapping[str, PodReading] = field(default_factory=dict)
    windows: StepWindows = field(default_factory=StepWindows)

    def total(self, revision: str) -> RequestCounters:
        """Return a revision's requests since the rollout first observed it."""
        return self.totals.get(revision, RequestCounters())

    def step(self, revision: str) -> RequestCounters:
        """Return a revision's requests in the present step."""
        return self.total(revision) - self.base.get(revision, RequestCounters())

    @property
    def refusals(self) -> RevisionCounts:
        """These counts with the refused requests as the failed ones, for the judge of refusals."""
        windows = StepWindows(
            since=self.windows.since, base=_refusals(self.windows.base), worst=self.windows.most_refused
        )
        return RevisionCounts(totals=_refusals(self.totals), base=_refusals(self.base), windows=windows)

    def window(self) -> Window:
        """Return the requests of each revision in the time window that is still open."""
        base = self.windows.base if self.windows.since else self.base
        return {name: total - base.get(name, RequestCounters()) for name, total in self.totals.items()}

    def steady(self, new: str, old: str, *, apart_from: str) -> tuple[RequestCounters, RequestCounters]:
        """Return both revisions' requests in the present step, without the time windows in which most requests failed.

        Args:
            new: One revision.
            old: The other one.
            apart_from: Revision whose failed requests decide which windows are left out.
        """
        left_out = worst_of(apart_from, (*self.windows.worst.get(apart_from, ()), self.window()))
        kept = [self.step(new), self.step(old)]
        for window in left_out:
            kept = [tally - window.get(name, RequestCounters()) for name, tally in zip((new, old), kept, strict=True)]
        return kept[0], kept[1]

    def close_window(self, now: float, since: float) -> RevisionCounts:
        """Close the open time window if it has lasted `WINDOW_S` and has counted a request.

        Args:
            now: Unix time in seconds. A clock that was set back makes a window longer, never shorter.
            since: Unix time in seconds when the present step began.
        """
        began = self.windows.since or since
        if now < began:
            base = self.windows.base if self.windows.since else self.base
            return replace(self, windows=replace(self.windows, since=now, base=base))
        window = self.window()
        if now - began < WINDOW_S or not any(tally.judged or tally.refused for tally in window.values()):
            return self
        return replace(self, windows=self.windows.close(window, self.totals, now))

    def begin_step(self, unread: Iterable[str] = ()) -> RevisionCounts:
        """Start counting a new step of the rollout.

        Args:
            unread: Names of pods that exist and couldn't be read.
        """
        unknown = {pod: PodReading(restarts=UNKNOWN) for pod in unread if pod not in self.seen}
        return replace(self, base=dict(self.totals), seen={**self.seen, **unknown}, windows=StepWindows())


def accumulate(counts: RevisionCounts, readings: Iterable[MetricsReading], present: Iterable[str]) -> RevisionCounts:
    """Add new readings of pods to the counters of their revisions.

    Args:
        counts: Counters until now.
        readings: Readings of the pods that could be read.
        present: Names of all existing pods. The previous readings of other pods are dropped; their requests stay in the
            totals.
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


def _refusals(tallies: Mapping[str, RequestCounters]) -> dict[str, RequestCounters]:
    return {name: tally.refusals for name, tally in tallies.items()}


def _gained(reading: MetricsReading, last: PodReading | None) -> RequestCounters:
    """Return the requests that a pod has counted since its previous reading.

    A crash counts as a failed request: the sender got no answer, and the process that would have counted the request is
    gone. All crashes before the first reading of a pod count as one.

    The time of the first prediction of a process is left out. It is longer, since weights are read from the disk and
    the golden check runs at the same time. A revision that gets 10 % of few requests starts from zero far more often
    than the one that gets 90 %, and would look slow for that reason alone.
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
