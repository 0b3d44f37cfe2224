"""Deliveries and dead letters in words: lanes, dead letters, groups with the same reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from eaves.admin import LaneReport, QueueReport
from eaves.base.names import NAME_PATTERN
from eaves.console.model.words import count_noun, describe_duration
from eaves.platform import FunctionStatus
from eaves.web.problem_document import describe_reason

TRIGGER, SINK = "trigger/", "dead-letters/"
"""Beginnings of the names of the local broker's lanes, before the name of the app."""
BROKER = "broker"
"""Name of the queue of the local platform's broker, which has lanes of every app."""
LANES: Mapping[str, str] = {
    "sink": "images from the sources",
    "replies": "predictions to the broker",
    "uploads": "large images to their bucket",
    "alarms": "alarms to the cloud",
    "archive": "predictions to the cloud",
    "images": "images to the cloud",
    "broker": "copies to the broker",
}
"""Lane of an agent's or a relay's queue to its purpose."""
PAGE = 50
"""Number of dead letters on one page."""
SAMPLE = 1_000
"""Number of dead letters of a queue, the oldest ones, whose reasons are counted."""
GROUPS = 12
"""Maximum number of reasons that are listed."""
MAX_TEXT = 2_000
"""Maximum number of characters that are shown of an event's data."""
STATUSES: Mapping[int, str] = {
    0: "not delivered",
    400: "refused: the event can't be read",
    401: "refused: not logged in",
    403: "refused: not allowed",
    404: "refused: the address doesn't exist",
    411: "refused: the length is missing",
    413: "refused: too large",
    415: "refused: data of this kind isn't accepted",
    422: "refused: the data can't be processed",
    429: "the receiver was too busy",
    503: "the receiver couldn't work",
}
"""HTTP status to its meaning for an event; 0 stands for no answer."""
SAME_AGAIN = "A retry helps only if the receiver has changed: the same data is refused again. Otherwise delete it."
RETRY_LATER = "Retry it when the receiver works again."
ADVICE: Mapping[int, str] = {
    401: "Check the credentials of its trigger, then retry it.",
    403: "Check the credentials of its trigger, then retry it.",
    404: "Check the address of its trigger, then retry it.",
    429: RETRY_LATER,
}
"""HTTP status to what a person can do, for those that are unlike their neighbours."""
_STATUS = re.compile(r"^answered [0-9]{3}: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRow:
    """Deliveries of one lane.

    Attributes:
        queue: Name of the queue.
        lane: Report on the lane.
        title: Purpose of the lane.
        paused_for: Duration of the pause in words; empty when the lane isn't paused or the start isn't known.
    """

    queue: str
    lane: LaneReport
    title: str
    paused_for: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDeliveries:
    """Deliveries of an app.

    Attributes:
        lanes: Its lanes, those with failures first.
        unreachable: Queue of the app to the reason why it can't be read.
    """

    lanes: tuple[LaneRow, ...] = ()
    unreachable: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterRow:
    """One dead letter, or an entry that was one.

    Attributes:
        seq: Number of the entry.
        lane: Name of the lane.
        lane_title: Purpose of the lane.
        is_dead: Whether it is a dead letter; otherwise it waits for delivery.
        source_name: Last part of the event's source, the name of a camera.
        subject: Subject of the event, such as the file's name; the event's id when it has none.
        size_bytes: Size of the event, bytes.
        attempts: Number of failed attempts.
        put_at: Time at which the event was queued, Unix seconds.
        died_at: Time at which it became a dead letter, Unix seconds; 0 when it waits.
        status: What the HTTP status means; empty when it isn't a dead letter.
        advice: What a person can do; empty when it isn't a dead letter.
        reason: Why it isn't delivered, in words.
        raw_reason: The recorded reason, which selects entries.
        is_image: Whether the event's data is an image.
    """

    seq: int
    lane: str
    lane_title: str
    is_dead: bool
    source_name: str
    subject: str
    size_bytes: int
    attempts: int
    put_at: float
    died_at: float
    status: str
    advice: str
    reason: str
    raw_reason: str
    is_image: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonGroup:
    """Dead letters of one lane with the same reason.

    Attributes:
        letter: One of them.
        count: Number of them among those that were counted.
    """

    letter: DeadLetterRow
    count: int


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
        LaneRow(queue=name, lane=lane, title=describe_lane(lane.lane), paused_for=_describe_pause(lane, now))
        for name, report in reports.items()
        for lane in report.lanes
        if (find_function(lane.lane) or name_owner(name)) == status.name
    ]
    rows.sort(key=lambda row: (not row.lane.paused, not row.lane.dead, not row.lane.attempts.get("retried", 0)))
    return AppDeliveries(
        lanes=tuple(rows),
        unreachable={name: why for name, why in unreachable.items() if name_owner(name) in (status.name, BROKER)},
    )


def _describe_pause(lane: LaneReport, now: float) -> str:
    return describe_duration(now - lane.paused_since) if lane.paused and lane.paused_since is not None else ""


def name_owner(queue: str) -> str:
    """Return the app that an agent's or a relay's queue belongs to, by its name: `flowers` for `flowers.camera-1`."""
    found = NAME_PATTERN.match(queue)
    return found[0] if found else queue


def describe_lane(lane: str) -> str:
    """Return the purpose of a lane in words; its name when it isn't known."""
    name = lane.rpartition("/")[2]
    if lane.startswith(TRIGGER):
        return "images to the function" if name == find_function(lane) else f"trigger {name}"
    return f"dead letter sink of trigger {name}" if lane.startswith(SINK) else LANES.get(lane, lane)


def find_function(lane: str) -> str:
    """Return the name of the app that a lane of the local broker belongs to; empty for other lanes."""
    parts = lane.split("/")
    return parts[1] if len(parts) == 3 and f"{parts[0]}/" in (TRIGGER, SINK) else ""


def build_dead_letter(entry: Mapping[str, Any]) -> DeadLetterRow:
    """Build the row of an entry, which an agent of another version may have described."""

    def text(name: str) -> str:
        value = entry.get(name)
        return value if isinstance(value, str) else ""

    def number(name: str) -> float:
        value = entry.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else 0

    status, reason, source = int(number("status")), text("reason"), text("source")
    is_dead = text("state") == "dead"
    return DeadLetterRow(
        seq=int(number("seq")),
        lane=text("lane"),
        lane_title=describe_lane(text("lane")),
        is_dead=is_dead,
        source_name=source.rpartition("/")[2] or source,
        subject=text("subject") or text("event_id"),
        size_bytes=int(number("size_bytes")),
        attempts=int(number("attempts")),
        put_at=number("put_at"),
        died_at=number("died_at"),
        status=describe_status(status) if is_dead else "",
        advice=advise(status) if is_dead else "",
        reason=shorten_reason(reason),
        raw_reason=reason,
        is_image=text("datacontenttype").lower().startswith("image/"),
    )


def shorten_reason(reason: str) -> str:
    """Return a recorded reason in words, without the HTTP status, which is shown beside it."""
    return _STATUS.sub("", describe_reason(reason))


def group_by_reason(rows: Iterable[DeadLetterRow]) -> tuple[ReasonGroup, ...]:
    """Return the reasons of dead letters with their counts, the most frequent first, at most `GROUPS`."""
    keyed = [((row.lane, row.status, row.raw_reason), row) for row in rows]
    counts, by_key = Counter(key for key, _ in keyed), dict(keyed)
    return tuple(ReasonGroup(letter=by_key[key], count=count) for key, count in counts.most_common(GROUPS))


def describe_status(status: int) -> str:
    """Return what an HTTP status means for an event, with its number; `not delivered` for 0."""
    meaning = STATUSES.get(status) or ("the receiver failed" if status >= 500 else "refused")
    return f"{meaning} ({status})" if status else meaning


def advise(status: int) -> str:
    """Return what a person can do about a dead letter with an HTTP status; 0 stands for no answer."""
    return ADVICE.get(status) or (SAME_AGAIN if 0 < status < 500 else RETRY_LATER)


def describe_change(done: str, count: int) -> str:
    """Return what a change did to a number of dead letters, which were `retried` or `deleted`."""
    if count == 0:
        return "No dead letter was changed: somebody may have retried or deleted them meanwhile."
    letters, verb = count_noun(count, "dead letter"), "is" if count == 1 else "are"
    return f"{letters} {verb} queued again." if done == "retried" else f"{letters} {verb} deleted."


def describe_data(content_type: str, data: bytes) -> str:
    """Return the beginning of an event's data when that is text; empty for other data."""
    media_type = content_type.partition(";")[0].strip().lower()
    if not media_type.startswith("text/") and not media_type.endswith(("/json", "+json")):
        return ""
    text = data[: MAX_TEXT + 1].decode(errors="replace")
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
