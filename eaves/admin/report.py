"""What a queue and the source that fills it report: plain values, to and from JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, TypeVar

from eaves.delivery.status import LaneDelivery
from eaves.spool import LaneStatus, Spool

T = TypeVar("T")


class SourceView(Protocol):
    """What a source reports of itself."""

    @property
    def state(self) -> str:
        """What the source does now, in one word."""

    @property
    def reason(self) -> str:
        """Why it captures nothing now; empty while it does."""

    @property
    def captured(self) -> int:
        """Images captured since the process started."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """Images passed over since the process started, by cause."""

    @property
    def last_captured_at(self) -> float | None:
        """When the last image was captured, Unix seconds; None before the first."""

    @property
    def reconnects(self) -> int:
        """Connections made anew in the last hour."""

    @property
    def last_error(self) -> tuple[str, float] | None:
        """The last reason why nothing was captured, and when it began, Unix seconds; None before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneReport:
    """One lane of a spool.

    Attributes:
        lane: Its name.
        queued: Entries that wait to be delivered.
        queued_bytes: Their data and attributes.
        dead: Dead letters.
        dead_bytes: Their data and attributes.
        oldest_age_s: Seconds since the oldest waiting entry was put; None when none waits.
        delivering: Whether this process delivers it.
        paused: Whether it is paused because its sink can't be reached or refuses everything.
        reason: Why it is paused; empty when it isn't.
        status: HTTP status that paused it, 0 when there was no answer.
        paused_since: When the pause began, Unix seconds.
        next_try_at: When the next attempt is made, Unix seconds.
        attempts: Attempts since the process started, by outcome.
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
    """One source.

    Attributes:
        name: Its name.
        state: What it does now, in one word.
        reason: Why it captures nothing now; empty while it does.
        captured: Images captured since the process started.
        dropped: Images passed over since the process started, by cause.
        last_captured_at: When the last image was captured, Unix seconds; None before the first.
        last_captured_age_s: Seconds since then.
        reconnects: Connections made anew in the last hour.
        last_error: The last reason why nothing was captured; empty before the first.
        last_error_age_s: Seconds since that began.
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
    """The link of a relay to its receiver.

    Attributes:
        to: The receiver's address.
        up: Whether the last request was answered as a receiver answers.
        state: `starting`, `up`, `down` (no answer, or none of a receiver) or `refused` (the receiver doesn't let this
            site in).
        since: Since when it is in this state, Unix seconds.
        since_age_s: For how long, seconds, whatever the clock was set to meanwhile.
        reason: Why nothing is forwarded; empty while it is.
        events_per_s: Events forwarded a second while there was something to forward, in the last minute of it; None
            before the first.
        bytes_per_s: Bytes of bodies over the link a second, likewise.
        backlog_events: Events that wait to be forwarded.
        backlog_bytes: Their data and attributes.
        oldest_age_s: Age of the oldest of them, seconds; None when none waits.
        drain_s: Seconds until none waits, at this rate and while the link stays up; None when no rate is known.
        forwarded: Events that the receiver has answered for since the process started.
        repeated: How many of them it had before.
        refused: Events that it never takes; they are dead letters.
        failed: Requests that got no usable answer.
        bytes_sent: Bytes of bodies that the receiver has answered for.
        conflicting: Events that came under the source and id of another one, since the ledger was made; they are dead
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
    """A whole spool.

    Attributes:
        queued_bytes: Data and attributes of what waits.
        max_bytes: Their limit.
        dead_bytes: Data and attributes of the dead letters.
        dead_max_bytes: Their limit.
        expired: Dead letters that were deleted to keep their limit, since the file was made.
        lanes: Each lane, by name.
        sources: The sources that fill it, in the order in which they were configured.
        link: The link that it is forwarded over; None for a queue that isn't a relay's.
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
        """As plain data."""
        return asdict(self)


def build_report(
    spool: Spool,
    deliveries: Iterable[LaneDelivery],
    sources: Iterable[SourceReport],
    now: float,
    *,
    link: LinkReport | None = None,
) -> QueueReport:
    """What a spool holds and what its delivery does.

    Args:
        spool: The spool.
        deliveries: Of the lanes that this process delivers.
        sources: What fills it.
        now: Unix seconds.
        link: The link that it is forwarded over, for a relay's.

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
    """What a source reports of itself.

    Args:
        name: Its name.
        source: The source.
        now: Unix seconds.
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
    """Read what `QueueReport.to_dict` wrote, by another version perhaps: what isn't known is passed over.

    Agents of earlier versions run one source, which is under the key `source`.

    Raises:
        ValueError: When it is no report.
    """
    try:
        before = values.get("source")
        sources = values.get("sources", () if before is None else [before])
        link = values.get("link")
        return _read(
            QueueReport,
            {
                **values,
                "lanes": tuple(_read(LaneReport, lane) for lane in values["lanes"]),
                "sources": tuple(_read(SourceReport, source) for source in sources),
                "link": None if link is None else _read(LinkReport, link),
            },
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not the report of a queue: {type(error).__name__}: {error}") from error


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
