"""Requests answered by the replicas of a revision, added up over pods that come, go and restart. Pure.

Agents count their own requests by revision, on disk; replicas count those of all other senders, and the times. A
replica counts from its own start, and at the edge replicas stop whenever no requests come. So the increase since the
previous reading is added to the total of its revision; after a restart, the count itself is added.

A rollout's present step is divided into short time windows, of which only the numbers that judges need are kept. One
incident, such as a stalled disk, makes many requests fail or slow down together, while statistical tests take requests
as independent. So the windows with the most failures are kept, to leave them out of a test, and the variation of the
mean time is measured from one window to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

WINDOW_S = 15.0
"""Minimum length of a time window in seconds; when readings are further apart, windows are longer."""
_AT = "@"
LEFT_OUT = 2
"""Number of time windows with the most failures that are left out of a test. An incident of up to `WINDOW_S` seconds
can be in two windows."""


LONG_S = 1800.0
"""Length of a time window in seconds above which it is never left out, as when nothing looks for hours: an incident of
`WINDOW_S` is less than 1 % of it, and without such windows there would be nothing to test."""

_COUNTERS = ("answered", "failed", "refused", "timed", "seconds")


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
        return RequestCounters(**{name: round(getattr(self, name) + getattr(other, name), 6) for name in _COUNTERS})

    def __sub__(self, other: RequestCounters) -> RequestCounters:
        """Return the increase from another count to this one; no number is below zero."""
        gained = {name: round(getattr(self, name) - getattr(other, name), 6) for name in _COUNTERS}
        return RequestCounters(**{name: max(0, number) for name, number in gained.items()})

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
        return all(getattr(self, name) >= getattr(other, name) for name in _COUNTERS if name != "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsReading:
    """The counters of one pod at one moment.

    Attributes:
        pod: Name of the pod; `SPOOL/REVISION` for what an agent has counted (`is_sender`).
        revision: Revision of the pod.
        node: Name of the pod's node; empty when it isn't known.
        restarts: Number of restarts of the function's container in the pod.
        crashed: Whether the container's last restart was caused by a crash of its process, and not by its node.
        tally: Requests since the process started.
        slowest: Estimated time of the slowest prediction of an image plus that of the slowest prediction of a tensor,
            in `seconds`; `timed` is the number of these predictions, 0 to 2.
    """

    pod: str
    revision: str
    node: str = ""
    restarts: int = 0
    crashed: bool = False
    tally: RequestCounters = field(default_factory=RequestCounters)
    slowest: RequestCounters = field(default_factory=RequestCounters)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodReading:
    """The previous reading of a pod: its restarts and its counts.

    A pod that couldn't be read when a step began is `unread`: its counters at that time are unknown.
    """

    unread: bool = False
    restarts: int = 0
    tally: RequestCounters = field(default_factory=RequestCounters)


Window = Mapping[str, RequestCounters]
"""Requests in one time window, by revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTimes:
    """Sums from which the variation of a revision's mean time between time windows is computed.

    Attributes:
        windows: Number of windows with a timed prediction.
        timed: Number of timed predictions in those windows.
        seconds: Total time of these predictions.
        squares: Sum over windows of squared seconds divided by the number of predictions.
    """

    windows: int = 0
    timed: int = 0
    seconds: float = 0.0
    squares: float = 0.0

    def add(self, tally: RequestCounters) -> WindowTimes:
        """Return the sums with one more time window; a window without a timed prediction changes nothing."""
        if not tally.timed:
            return self
        return WindowTimes(
            windows=self.windows + 1,
            timed=self.timed + tally.timed,
            seconds=round(self.seconds + tally.seconds, 6),
            squares=round(self.squares + tally.seconds**2 / tally.timed, 9),
        )

    @property
    def mean_s(self) -> float:
        """Mean time of a prediction in seconds."""
        return self.seconds / self.timed if self.timed else 0.0

    @property
    def variance_of_mean(self) -> float:
        """Variance of `mean_s` in seconds squared; it needs at least two windows.

        Source: batch means, Law 2015, Simulation Modeling and Analysis, section 9.5.3: unlike the spread of single
        predictions, it is valid when slow predictions come together.
        """
        between = max(0.0, self.squares - self.seconds**2 / self.timed) / (self.windows - 1)
        return between / self.timed


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWindows:
    """The time windows of a rollout's present step.

    Attributes:
        since: Unix time in seconds when the open window began; 0 means that it began with the step.
        base: Counters of each revision when the open window began.
        worst: For each revision, the closed windows with the most failed requests.
        most_refused: For each revision, the closed windows with the most refused requests, which are the failed ones in
            these windows (`RequestCounters.refusals`).
        times: For each revision, the sums over its closed windows.
    """

    since: float = 0.0
    base: Mapping[str, RequestCounters] = field(default_factory=dict)
    worst: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)
    most_refused: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)
    times: Mapping[str, WindowTimes] = field(default_factory=dict)

    def close(self, window: Window, totals: Mapping[str, RequestCounters], now: float, *, is_long: bool) -> StepWindows:
        """Close the open time window and begin another one at the time `now`; return the new windows."""
        judged: Window = {}
        refusals: Window = {}
        if not is_long:
            judged = {name: replace(one, refused=0, timed=0, seconds=0.0) for name, one in window.items() if one.judged}
            refusals = {name: one.refusals for name, one in window.items() if one.judged or one.refused}
        times = {name: self.times.get(name, WindowTimes()).add(tally) for name, tally in window.items()}
        return replace(
            self,
            since=now,
            base=dict(totals),
            worst=_add_window(self.worst, judged),
            most_refused=_add_window(self.most_refused, refusals),
            times={**self.times, **{name: one for name, one in times.items() if one.windows}},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionCounts:
    """The requests of all revisions that were counted since the rollout began.

    Attributes:
        totals: All counted requests of each revision, and the times of each on each node as `REVISION@NODE`.
        base: Counts of each revision when the present step began.
        seen: The last reading of each pod and of each agent's spool.
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

    def pairs(self, new: str, old: str) -> list[tuple[str, str]]:
        """Return the names of both revisions' counts on each node; those of all when no node is known."""
        nodes = sorted({name.partition(_AT)[2] for name in self.totals} - {""})
        return [(new + _AT + node, old + _AT + node) for node in nodes] or [(new, old)]

    def window(self) -> Window:
        """Return the requests of each revision in the time window that is still open."""
        base = self._open_base
        return {name: total - base.get(name, RequestCounters()) for name, total in self.totals.items()}

    @property
    def _open_base(self) -> Window:
        return self.windows.base if self.windows.since else self.base

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
            return replace(self, windows=replace(self.windows, since=now, base=self._open_base))
        window = self.window()
        if now - began < WINDOW_S or not any(tally.judged or tally.refused for tally in window.values()):
            return self
        return replace(self, windows=self.windows.close(window, self.totals, now, is_long=now - began > LONG_S))

    def begin_step(self, unread: Iterable[str] = ()) -> RevisionCounts:
        """Start counting a new step of the rollout.

        Args:
            unread: Names of pods that exist and couldn't be read.
        """
        unknown = {pod: PodReading(unread=True) for pod in unread if pod not in self.seen}
        return replace(self, base=dict(self.totals), seen={**self.seen, **unknown}, windows=StepWindows())


def accumulate(counts: RevisionCounts, readings: Iterable[MetricsReading], present: Iterable[str]) -> RevisionCounts:
    """Add new readings of pods to the counters of their revisions.

    Args:
        counts: Counters until now.
        readings: Readings that could be made. The first one of an agent's spool adds nothing, because it may hold
            requests of weeks.
        present: Names of all existing pods. The previous readings of other pods are dropped; their requests stay in the
            totals.
    """
    totals, base, open_base = dict(counts.totals), dict(counts.base), dict(counts.windows.base)
    kept = set(present)
    seen = {pod: last for pod, last in counts.seen.items() if pod in kept or is_sender(pod)}
    for reading in readings:
        last = seen.get(reading.pod)
        seen[reading.pod] = PodReading(restarts=reading.restarts, tally=reading.tally)
        if last is None and is_sender(reading.pod):
            continue
        gained = _gained(reading, last)
        parts = {reading.revision: gained}
        if reading.node and gained.timed:
            parts[reading.revision + _AT + reading.node] = replace(gained, answered=0, failed=0, refused=0)
        for added in (totals, base, open_base) if last is not None and last.unread else (totals,):
            for name, part in parts.items():
                added[name] = added.get(name, RequestCounters()) + part
    return RevisionCounts(totals=totals, base=base, seen=seen, windows=replace(counts.windows, base=open_base))


def is_sender(name: str) -> bool:
    """Return whether a reading with this name is of an agent's spool, which outlives pods, and not of a pod."""
    return "/" in name


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
    known = last if last is not None and not last.unread else PodReading()
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


def _add_window(worst: Mapping[str, tuple[Window, ...]], window: Window) -> dict[str, tuple[Window, ...]]:
    kept = {name: worst_of(name, (*worst.get(name, ()), window)) for name in {*worst, *window}}
    return {name: windows for name, windows in kept.items() if windows}


def worst_of(revision: str, windows: Iterable[Window]) -> tuple[Window, ...]:
    """Return the windows in which most requests of a revision failed: at most `LEFT_OUT`, each with a failure."""
    failing = [window for window in windows if revision in window and window[revision].failed]
    return tuple(sorted(failing, key=lambda window: -window[revision].failed)[:LEFT_OUT])
