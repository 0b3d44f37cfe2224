"""Deliveries of a function's events: what was answered, what failed and why, by queue and lane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eaves.admin import LaneReport, QueueReport
from eaves.base.names import NAME_PATTERN
from eaves.console.model.words import describe_duration
from eaves.platform import FunctionStatus, PartStatus
from eaves.web.problem_document import describe_reason

TRIGGER, SINK = "trigger/", "dead-letters/"
"""Beginnings of the names of the local broker's lanes, before the name of the app."""
BROKER = "broker"
"""Name of the queue of the local platform's broker, which has lanes of every app."""
LANES: Mapping[str, str] = {
    "sink": "images from the sources",
    "replies": "predictions to the broker",
    "alarms": "alarms to the cloud",
    "archive": "predictions to the cloud",
    "images": "images to the cloud",
    "broker": "copies to the broker",
}
"""Lane of an agent's or a relay's queue to its purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRow:
    """Deliveries of one lane.

    Attributes:
        queue: Name of the queue.
        lane: Name of the lane, for its page of dead letters.
        title: Purpose of the lane.
        delivered: Number of successful deliveries since its process started; None when this process delivers none.
        retried: Number of attempts that failed and are tried again.
        refused: Number of entries that became dead letters.
        queued: Number of waiting entries.
        dead: Number of dead letters.
        oldest_age_s: Age of the oldest waiting entry, seconds; None when none waits.
        paused_for: Duration of the pause in words; empty when the lane isn't paused or the start isn't known.
        is_paused: Whether delivery is paused.
        reason: Why it is paused, in words.
    """

    queue: str
    lane: str
    title: str
    delivered: int | None
    retried: int
    refused: int
    queued: int
    dead: int
    oldest_age_s: float | None
    paused_for: str
    is_paused: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRow:
    """A part of the app that isn't ready.

    Attributes:
        title: Its kind and name.
        state: Its state.
        reason: Why it isn't ready, in words.
        fix: Command or edit that fixes it; empty when none is known.
        lasting: Time since the last change of its state, in words; empty when it isn't known.
    """

    title: str
    state: str
    reason: str
    fix: str
    lasting: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDeliveries:
    """Deliveries of an app, and what fails in it.

    Attributes:
        lanes: Its lanes, those with failures first.
        parts: Its parts that aren't ready.
        unreachable: Queue of the app to the reason why it can't be read.
    """

    lanes: tuple[LaneRow, ...] = ()
    parts: tuple[PartRow, ...] = ()
    unreachable: Mapping[str, str]


def build_deliveries(
    status: FunctionStatus, reports: Mapping[str, QueueReport], unreachable: Mapping[str, str], now: float
) -> AppDeliveries:
    """Build the view of an app's deliveries.

    Args:
        status: Status of the app's function.
        reports: Reports of the queues that answered, by name.
        unreachable: Name of each queue that can't be read to the reason.
        now: Current time, Unix seconds.
    """
    rows = [
        _build_lane(name, lane, now)
        for name, report in reports.items()
        for lane in report.lanes
        if (find_function(lane.lane) or name_owner(name)) == status.name
    ]
    rows.sort(key=lambda row: (not row.is_paused, not row.dead, not row.retried))
    return AppDeliveries(
        lanes=tuple(rows),
        parts=tuple(_build_part(part) for part in status.parts if part.state != "ready" and part.reason),
        unreachable={name: why for name, why in unreachable.items() if name_owner(name) in (status.name, BROKER)},
    )


def name_owner(queue: str) -> str:
    """Return the app that an agent's or a relay's queue belongs to, by its name: `flowers` for `flowers.camera-1`."""
    found = NAME_PATTERN.match(queue)
    return found[0] if found else queue


def describe_lane(lane: str) -> str:
    """Return the purpose of a lane in words; its name when it isn't known."""
    if lane.startswith(TRIGGER):
        name = lane.rpartition("/")[2]
        return "images to the function" if name == find_function(lane) else f"trigger {name}"
    if lane.startswith(SINK):
        return f"dead letter sink of trigger {lane.rpartition('/')[2]}"
    return LANES.get(lane, lane)


def find_function(lane: str) -> str:
    """Return the name of the app that a lane of the local broker belongs to; empty for other lanes."""
    parts = lane.split("/")
    return parts[1] if len(parts) == 3 and f"{parts[0]}/" in (TRIGGER, SINK) else ""


def _build_lane(queue: str, lane: LaneReport, now: float) -> LaneRow:
    since = lane.paused_since
    return LaneRow(
        queue=queue,
        lane=lane.lane,
        title=describe_lane(lane.lane),
        delivered=lane.attempts.get("delivered", 0) if lane.delivering else None,
        retried=lane.attempts.get("retried", 0),
        refused=lane.attempts.get("dead", 0),
        queued=lane.queued,
        dead=lane.dead,
        oldest_age_s=lane.oldest_age_s,
        paused_for=describe_duration(now - since) if lane.paused and since is not None else "",
        is_paused=lane.paused,
        reason=describe_reason(lane.reason),
    )


def _build_part(part: PartStatus) -> PartRow:
    return PartRow(
        title=part.title,
        state=part.state,
        reason=describe_reason(part.reason),
        fix=part.fix,
        lasting="" if part.age_s is None else describe_duration(part.age_s),
    )
