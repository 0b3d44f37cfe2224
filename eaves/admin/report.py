"""Reports of a queue and of the sources that fill it, as plain values that can be converted to and from JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, TypeVar

from eaves.delivery.sink_state import LaneDelivery
from eaves.spool import LaneStatus, Spool

T = TypeVar("T")


class SourceView(Protocol):
    """Properties of a source that its report needs."""

    @property
    def state(self) -> str:
        """State of the source, in one word."""

    @property
    def reason(self) -> str:
        """Why the source captures nothing now; empty while it captures."""

    @property
    def captured(self) -> int:
        """Number of images captured since the process started."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """Numbers of images dropped since the process started, by cause."""

    @property
    def last_captured_at(self) -> float | None:
        """When the last image was captured, Unix seconds; None before the first."""

    @property
    def reconnects(self) -> int:
        """Number of reconnections in the last hour."""

    @property
    def last_error(self) -> tuple[str, float] | None:
        """Last reason why the source captured nothing, and when it began, Unix seconds; None if it never stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneReport:
    """Report on one lane of a spool.

    Attributes:
        lane: Name of the lane.
        queued: Number of entries that wait to be delivered.
        queued_bytes: Size of the waiting entries' data and attributes, bytes.
        dead: Number of dead letters.
        dead_bytes: Size of the dead letters' data and attributes, bytes.
        oldest_age_s: Age of the oldest waiting entry, seconds; None when none waits.
        delivering: Whether this process delivers the lane.
        paused: Whether delivery is paused because the lane's sink can't be reached or refuses everything.
        reason: Why delivery is paused; empty when it isn't.
        status: HTTP status that caused the pause, 0 when there was no answer.
        paused_since: When the pause began, Unix seconds.
        next_try_at: When the next attempt is made, Unix seconds.
        attempts: Number of attempts since the process started, by outcome.
    """

    lane: str
    queued: int = 0
    queued_bytes: int = 0
    dead: int = 0
    dead_bytes: int = 0
    oldest_age_s: float | None = None
    delivering: bool = False
    paused: bool = False
    reason: str = ""
    status: int = 0
    paused_since: float | None = None
    next_try_at: float | None = None
    attempts: Mapping[str, int] = field(default_factory=dict)


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
    """Report on a whole spool.

    Attributes:
        queued_bytes: Size of the waiting entries' data and attributes, bytes.
        max_bytes: Limit of `queued_bytes`.
        dead_bytes: Size of the dead letters' data and attributes, bytes.
        dead_max_bytes: Limit of `dead_bytes`.
        expired: Number of dead letters that were deleted to keep their limit, since the file was created.
        lanes: Report on each lane, sorted by name.
        sources: Reports of the sources that fill the spool, in the order of their configuration.
        link: Report on the link that the spool is forwarded over; None when the queue isn't a relay's.
    """

    queued_bytes: int = 0
    max_bytes: int = 0
    dead_bytes: int = 0
    dead_max_bytes: int = 0
    expired: int = 0
    lanes: tuple[LaneReport, ...] = ()
    sources: tuple[SourceReport, ...] = ()
    link: LinkReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return asdict(self)


def build_report(
    spool: Spool,
    deliveries: Iterable[LaneDelivery],
    sources: Iterable[SourceReport],
    now: float,
    *,
    link: LinkReport | None = None,
) -> QueueReport:
    """Build the report on a spool and its delivery.

    Args:
        spool: The spool.
        deliveries: Reports of the lanes that this process delivers.
        sources: Reports of the sources that fill the spool.
        now: Wall-clock time, Unix seconds.
        link: Report on the link of a relay.

    Raises:
        SpoolError: When the spool can't be read.
    """
    held = {status.lane: status for status in spool.lanes()}
    delivering = {delivery.lane: delivery for delivery in deliveries}
    return QueueReport(
        queued_bytes=spool.size_bytes(),
        max_bytes=spool.limits.max_bytes,
        dead_bytes=spool.dead_bytes(),
        dead_max_bytes=spool.limits.dead_max_bytes,
        expired=spool.expired(),
        lanes=tuple(
            _lane(name, held.get(name), delivering.get(name), now) for name in sorted(held.keys() | delivering.keys())
        ),
        sources=tuple(sources),
        link=link,
    )


def build_source_report(name: str, source: SourceView, now: float) -> SourceReport:
    """Build the report on a source.

    Args:
        name: Name of the source.
        source: Properties of the source.
        now: Wall-clock time, Unix seconds.
    """
    at, error = source.last_captured_at, source.last_error
    return SourceReport(
        name=name,
        state=source.state,
        reason=source.reason,
        captured=source.captured,
        dropped=dict(source.dropped),
        last_captured_at=at,
        last_captured_age_s=None if at is None else max(0.0, now - at),
        reconnects=source.reconnects,
        last_error=error[0] if error else "",
        last_error_age_s=max(0.0, now - error[1]) if error else None,
    )


def parse_report(values: Mapping[str, Any]) -> QueueReport:
    """Parse a dict of `QueueReport.to_dict`, possibly from another version; unknown fields are ignored.

    Raises:
        ValueError: When the values are not a report.
    """
    try:
        link = values.get("link")
        return _read(
            QueueReport,
            {
                **values,
                "lanes": tuple(_read(LaneReport, lane) for lane in values["lanes"]),
                "sources": tuple(_read(SourceReport, source) for source in values.get("sources", ())),
                "link": None if link is None else _read(LinkReport, link),
            },
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a valid queue report: {type(error).__name__}: {error}") from error


def _lane(name: str, held: LaneStatus | None, delivery: LaneDelivery | None, now: float) -> LaneReport:
    oldest_at = held.oldest_at if held else None
    return LaneReport(
        lane=name,
        queued=held.queued if held else 0,
        queued_bytes=held.queued_bytes if held else 0,
        dead=held.dead if held else 0,
        dead_bytes=held.dead_bytes if held else 0,
        oldest_age_s=None if oldest_at is None else max(0.0, now - oldest_at),
        delivering=delivery is not None,
        paused=delivery.paused if delivery else False,
        reason=delivery.reason if delivery else "",
        status=delivery.status if delivery else 0,
        paused_since=delivery.since if delivery else None,
        next_try_at=delivery.next_try_at if delivery else None,
        attempts=dict(delivery.attempts) if delivery else {},
    )


def _read(make: Callable[..., T], values: Mapping[str, Any]) -> T:
    known = {one.name for one in fields(make)}  # type: ignore[arg-type]
    return make(**{name: value for name, value in values.items() if name in known})
