"""What a process with a queue reports of it: lanes, sources, link, each counted once and read everywhere.

The process builds one `QueueReport`. It travels as JSON (`to_json`, `from_json`), is a branch of
`eaves.platform.FunctionStatus`, and becomes Prometheus text (`eaves.admin.metrics`); the command line and the console
only render it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin

from eaves.base.process_usage import ProcessUsage, read_usage
from eaves.config.declarations import resolve_types
from eaves.delivery.response_rules import shorten
from eaves.delivery.sink_state import LaneDelivery
from eaves.events import AUDIT, UNSURE
from eaves.spool import LaneStatus, Spool
from eaves.spool.image_choice import CHOICE_OUTCOMES, NEAR_DUPLICATE, OVER_BUDGET, OVER_BYTES, ChoiceCounts
from eaves.spool.outcomes import RevisionOutcomes
from eaves.spool.score_shift import ScoreWindow

T = TypeVar("T")

LIVE, HEALTH, METRICS = "/health/liveness", "/health", "/metrics"
"""Paths at which a process answers whether it lives, with its report, and with the report as metrics."""
QUEUES = "/queues"
"""Path at which a process answers requests to its queue, on its Unix socket only."""
RUNNING = "running"
NOT_STARTED = "waiting", "not started"
"""State and reason of a source that has not reported its state yet."""
MAX_FLOAT = 1e300
"""Number below which the numbers are that `from_json` takes for a float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneReport(LaneDelivery):
    """Report on one lane of a spool: what it holds, and the state of its delivery.

    Attributes:
        queued: Number of entries that wait to be delivered.
        queued_bytes: Size of the waiting entries' data and attributes, bytes.
        dead: Number of dead letters.
        dead_bytes: Size of the dead letters' data and attributes, bytes.
        oldest_age_s: Age of the oldest waiting entry, seconds; None when none waits.
        delivering: Whether this process delivers the lane.
    """

    queued: int = 0
    queued_bytes: int = 0
    dead: int = 0
    dead_bytes: int = 0
    oldest_age_s: float | None = None
    delivering: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """Report on one source.

    Attributes:
        name: Name of the source.
        state: State of the source, in one word.
        reason: Why the source captures nothing now; empty while it captures.
        captured: Number of images captured since the process started.
        dropped: Numbers of images dropped since the process started, by cause.
        last_captured_at: When the last image was captured, Unix seconds; None before the first.
        last_captured_age_s: Time since the last image was captured, seconds; None before the first.
        reconnects: Number of reconnections in the last hour.
        last_error: Last reason why nothing was captured; empty before the first.
        last_error_age_s: Time since that reason began, seconds; None before the first.
    """

    name: str
    state: str = ""
    reason: str = ""
    captured: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    last_captured_at: float | None = None
    last_captured_age_s: float | None = None
    reconnects: int = 0
    last_error: str = ""
    last_error_age_s: float | None = None

    @property
    def is_starting(self) -> bool:
        """Whether it has not had its first turn yet."""
        return self.state == "starting" or (self.state, self.reason) == NOT_STARTED

    @property
    def is_ready(self) -> bool:
        """Whether it captures new images, or has played all of a recording."""
        return self.state == "finished" or (self.state == "watching" and not self.reason)

    @property
    def reason_age_s(self) -> float | None:
        """Time since the reason began, seconds; None without one, and when its beginning isn't known."""
        return self.last_error_age_s if self.reason and self.reason == self.last_error else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReport:
    """Report on the link of a relay to its receiver.

    Attributes:
        to: Address of the receiver.
        up: Whether the last request got an answer of a receiver.
        state: `starting`, `up`, `down` (no answer, or not a receiver's) or `refused` (the receiver rejects this site).
        since: When this state began, Unix seconds.
        since_age_s: Time in this state, seconds, independent of changes of the wall clock.
        reason: Why nothing is forwarded; empty while events are forwarded.
        events_per_s: Events forwarded per second while any waited, over the last minute of such time; None before the
            first.
        bytes_per_s: Bytes of request bodies sent per second, measured over the same time; None before the first
            request.
        backlog_events: Number of events that wait to be forwarded.
        backlog_bytes: Size of the waiting events' data and attributes, bytes.
        oldest_age_s: Age of the oldest waiting event, seconds; None when none waits.
        drain_s: Estimated time until no event waits any more, at the current rate, seconds; None when no rate is known.
        forwarded: Number of events that the receiver's answers account for, since the process started.
        repeated: Number of forwarded events that the receiver already had.
        refused: Number of events that the receiver refused for good; they are dead letters.
        failed: Number of requests without a usable answer.
        bytes_sent: Size of the answered request bodies, bytes.
        conflicting: Number of events with the source and id of another one, since the ledger was created; they are dead
            letters.
    """

    to: str
    up: bool = False
    state: str = ""
    since: float | None = None
    since_age_s: float | None = None
    reason: str = ""
    events_per_s: float | None = None
    bytes_per_s: float | None = None
    backlog_events: int = 0
    backlog_bytes: int = 0
    oldest_age_s: float | None = None
    drain_s: float | None = None
    forwarded: int = 0
    repeated: int = 0
    refused: int = 0
    failed: int = 0
    bytes_sent: int = 0
    conflicting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReport:
    """Report of one process with a queue: an agent that runs sources, a publisher, a relay, a receiver or a broker.

    Attributes:
        name: Name for `eaves queue --agent`: `FUNCTION` on one machine, `FUNCTION.SOURCE` on a cluster; the platform
            that has asked the process sets it.
        pod: Pod that the process runs in on a cluster; empty elsewhere.
        state: `running`, or why the process can't be asked: `starting`, `stopped`, `unknown`, or the phase of its pod.
        reason: Explanation why the process can't be asked; empty when it can.
        queued_bytes: Size of the waiting entries' data and attributes, bytes.
        max_bytes: Limit of `queued_bytes`.
        dead_bytes: Size of the dead letters' data and attributes, bytes.
        dead_max_bytes: Limit of `dead_bytes`.
        expired: Number of dead letters that were deleted to keep their limit, since the file was created.
        lanes: Report on each lane, sorted by name.
        sources: Reports of the sources that fill the spool, in the order of their configuration; when the process can't
            be asked, only the names of those that it should run.
        link: Report on the link that the spool is forwarded over; None when the queue isn't a relay's.
        spool_id: Identity of the spool's file; empty for a process that doesn't tell it.
        usage: Processor time and memory of the process; None when the process can't be asked.
        outcomes: Outcomes of the requests to each revision of the function that this process asks, since the file was
            created.
        windows: Models and sources whose scores are watched for a shift.
        choices: Numbers of images that were chosen for labelling today, by predicted class.
    """

    name: str = ""
    pod: str = ""
    state: str = RUNNING
    reason: str = ""
    queued_bytes: int = 0
    max_bytes: int = 0
    dead_bytes: int = 0
    dead_max_bytes: int = 0
    expired: int = 0
    lanes: tuple[LaneReport, ...] = ()
    sources: tuple[SourceReport, ...] = ()
    link: LinkReport | None = None
    usage: ProcessUsage | None = None
    spool_id: str = ""
    outcomes: tuple[RevisionOutcomes, ...] = ()
    windows: tuple[ScoreWindow, ...] = ()
    choices: tuple[ChoiceCounts, ...] = ()

    @property
    def queued(self) -> int | None:
        """Number of waiting entries; None when the process can't be asked."""
        return sum(lane.queued for lane in self.lanes) if self.state == RUNNING else None

    @property
    def dead(self) -> int | None:
        """Number of dead letters; None when the process can't be asked."""
        return sum(lane.dead for lane in self.lanes) if self.state == RUNNING else None

    @property
    def oldest_age_s(self) -> float | None:
        """Age of the oldest waiting entry, seconds; None when none waits."""
        return max((lane.oldest_age_s for lane in self.lanes if lane.oldest_age_s is not None), default=None)

    @property
    def pauses(self) -> tuple[LaneReport, ...]:
        """The paused lanes, without those whose reason the link has already."""
        known = self.link.reason if self.link is not None else ""
        return tuple(lane for lane in self.lanes if lane.paused and (not known or lane.reason != known))

    @property
    def shifts(self) -> tuple[ScoreWindow, ...]:
        """The models and sources whose scores have shifted."""
        return tuple(one for one in self.windows if one.since is not None)


def describe_choices(choices: Sequence[ChoiceCounts]) -> str:
    """Return as a sentence how many images were chosen for labelling today; empty when none was or could have been."""
    if not choices:
        return ""
    total = {name: sum(getattr(one, name) for one in choices) for name in CHOICE_OUTCOMES}
    by_class = ", ".join(f"{one.label or 'no label'} {one.unsure}" for one in choices if one.unsure)
    return (
        f"{total[AUDIT]:,} images of the audit sample and {total[UNSURE]:,} unsure ones"
        f"{f' ({shorten(by_class, 80)})' if by_class else ''} were chosen for labelling today; left out: "
        f"{total[NEAR_DUPLICATE]:,} that look like a chosen one, {total[OVER_BUDGET]:,} over the budget of an hour, "
        f"{total[OVER_BYTES]:,} over that of the day"
    )


def describe_silent(name: str, sources: Iterable[str], *, state: str, reason: str = "", pod: str = "") -> QueueReport:
    """Return the report that stands for a process which can't be asked.

    Args:
        name: Name of the process.
        sources: Names of the sources that it should run.
        state: Why it can't be asked, in one word.
        reason: Explanation why it can't be asked.
        pod: Pod that it runs in on a cluster.
    """
    reports = tuple(SourceReport(name=source, state=state) for source in sources)
    return QueueReport(name=name, pod=pod, state=state, reason=reason, sources=reports)


def build_report(
    spool: Spool,
    deliveries: Iterable[LaneDelivery] = (),
    sources: Iterable[SourceReport] = (),
    link: LinkReport | None = None,
) -> QueueReport:
    """Build the report on a spool, the deliveries of this process, and the sources and the link that it has.

    Raises:
        SpoolError: When the spool can't be read.
    """
    now, held = spool.clock.now(), {status.lane: status for status in spool.lanes()}
    delivering = {delivery.lane: delivery for delivery in deliveries}
    names = sorted(held.keys() | delivering.keys())
    spool_id, outcomes = spool.outcomes()
    return QueueReport(
        queued_bytes=spool.size_bytes(),
        max_bytes=spool.limits.max_bytes,
        dead_bytes=spool.dead_bytes(),
        dead_max_bytes=spool.limits.dead_max_bytes,
        expired=spool.expired(),
        lanes=tuple(_build_lane(name, held.get(name), delivering.get(name), now) for name in names),
        sources=tuple(sources),
        link=link,
        usage=read_usage(),
        spool_id=spool_id,
        outcomes=outcomes,
        windows=spool.score_windows(),
        choices=spool.choices(),
    )


def _build_lane(name: str, held: LaneStatus | None, delivery: LaneDelivery | None, now: float) -> LaneReport:
    counts = asdict(held) if held else {}
    oldest_at = counts.pop("oldest_at", None)
    return LaneReport(
        **{**counts, **(asdict(delivery) if delivery else {}), "lane": name},
        oldest_age_s=None if oldest_at is None else max(0.0, now - oldest_at),
        delivering=delivery is not None,
    )


def list_faults(report: QueueReport) -> list[str]:
    """Return the reasons why images aren't captured or delivered, one sentence each; empty when all is well."""
    link = report.link
    faults = [f"the link to {link.to} is {link.state}: {link.reason}"] if link is not None and link.reason else []
    faults += [f"lane {lane.lane} is paused: {lane.reason}" for lane in report.pauses]
    faults += [
        f"lane {lane.lane} holds {lane.queued} events, and nothing delivers them"
        for lane in report.lanes
        if lane.queued and not lane.delivering
    ]
    faults += [f"source {source.name} is {source.state}: {source.reason}" for source in report.sources if source.reason]
    return faults


def to_json(value: Any) -> Any:
    """Return a value as plain data; a dataclass has its fields, and what its properties compute from them."""
    if is_dataclass(value):
        computed = [name for name, one in vars(type(value)).items() if isinstance(one, property)]
        return {name: to_json(getattr(value, name)) for name in [*(one.name for one in fields(value)), *computed]}
    if isinstance(value, Mapping):
        return {str(name): to_json(part) for name, part in value.items()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return [to_json(part) for part in value] if isinstance(value, (list, tuple)) else value


def from_json(kind: type[T], value: Any, *, exact: bool = False) -> T:
    """Return plain data, which another process or version made, as a value of a type.

    Args:
        kind: Type of the value: a dataclass, `tuple[X, ...]`, `Mapping[str, X]`, `X | None`, or a plain type.
        value: The plain data.
        exact: Whether a member that a dataclass doesn't have is an error; otherwise it is left out.

    Raises:
        ValueError: When the data isn't such a value.
    """
    found: T = _restore(kind, value, exact)
    return found


def _restore(kind: Any, value: Any, exact: bool) -> Any:
    arguments, origin = get_args(kind), get_origin(kind)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, Mapping):
        return kind(**_restore_fields(kind, value, exact))
    if origin is UnionType:
        return None if value is None else _restore(arguments[0], value, exact)
    if origin is tuple and isinstance(value, list):
        return tuple(_restore(arguments[0], part, exact) for part in value)
    if origin is Mapping and isinstance(value, dict):
        return {name: _restore(arguments[1], part, exact) for name, part in value.items()}
    if kind is bytes and isinstance(value, str):
        return base64.b64decode(value, validate=True)
    if kind is float and type(value) in (int, float) and abs(value) < MAX_FLOAT:  # neither NaN nor infinite
        return float(value)
    if (type(value) is kind and kind is not float) or (origin is Literal and value in arguments):
        return value
    raise ValueError(f"{getattr(kind, '__name__', kind)} expected, got {str(value)[:64]!r}")


def _restore_fields(kind: Any, values: Mapping[str, Any], exact: bool) -> dict[str, Any]:
    kinds = resolve_types(kind)
    if exact and (unknown := sorted(values.keys() - kinds.keys())):
        raise ValueError(f"unknown name {unknown[0][:64]!r}; the names are {', '.join(kinds)}")
    required = (one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING)
    if missing := [name for name in required if name not in values]:
        raise ValueError(f"a {kind.__name__} needs {missing[0]}")
    return {name: _restore(kinds[name], part, exact) for name, part in values.items() if name in kinds}
