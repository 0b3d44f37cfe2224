"""Deliveries and dead letters in words: lanes, dead letters, groups with the same reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eaves.admin import DEAD, LaneReport
from eaves.console.model.words import count_noun
from eaves.platform import FunctionStatus
from eaves.spool.admin import Stored
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


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """One dead letter, or an entry that was one, with what a page says of it.

    Attributes:
        entry: The entry.
    """

    entry: Stored

    @property
    def is_dead(self) -> bool:
        """Whether it is a dead letter; otherwise it waits for delivery."""
        return self.entry.state == DEAD

    @property
    def lane_title(self) -> str:
        """Purpose of its lane."""
        return describe_lane(self.entry.lane)

    @property
    def source_name(self) -> str:
        """Last part of the event's source, the name of a camera."""
        return self.entry.source.rpartition("/")[2] or self.entry.source

    @property
    def subject(self) -> str:
        """Subject of the event, such as the file's name; the event's id when it has none."""
        return self.entry.subject or self.entry.event_id

    @property
    def status(self) -> str:
        """What the HTTP status means, with its number; empty when it isn't a dead letter."""
        status = self.entry.status
        meaning = STATUSES.get(status) or ("the receiver failed" if status >= 500 else "refused")
        return "" if not self.is_dead else f"{meaning} ({status})" if status else meaning

    @property
    def advice(self) -> str:
        """What a person can do; empty when it isn't a dead letter."""
        status = self.entry.status
        known = ADVICE.get(status) or (SAME_AGAIN if 0 < status < 500 else RETRY_LATER)
        return known if self.is_dead else ""

    @property
    def reason(self) -> str:
        """Why it isn't delivered, in words."""
        return shorten_reason(self.entry.reason)

    @property
    def is_image(self) -> bool:
        """Whether the event's data is an image."""
        return self.entry.datacontenttype.lower().startswith("image/")


def list_deliveries(status: FunctionStatus) -> list[tuple[str, LaneReport]]:
    """Return the lanes of an app, each with the name of its queue, those with failures first."""
    lanes = [(BROKER, lane) for lane in (*status.lanes, *status.sinks)]
    lanes += [(agent.pod or agent.name, lane) for agent in status.agents for lane in agent.lanes]
    return sorted(lanes, key=lambda one: (not one[1].paused, not one[1].dead, not one[1].attempts.get("retried", 0)))


def describe_lane(lane: str) -> str:
    """Return the purpose of a lane in words; its name when it isn't known."""
    app, _, name = lane.partition("/")[2].partition("/")
    if lane.startswith(TRIGGER):
        return "images to the function" if name == app else f"trigger {name}"
    return f"dead letter sink of trigger {name}" if lane.startswith(SINK) else LANES.get(lane, lane)


def shorten_reason(reason: str) -> str:
    """Return a recorded reason in words, without the HTTP status, which is shown beside it."""
    return _STATUS.sub("", describe_reason(reason))


def group_by_reason(letters: Iterable[DeadLetterView]) -> list[tuple[DeadLetterView, int]]:
    """Return one dead letter of each lane and reason with their count, the most frequent first, at most `GROUPS`."""
    keyed = [((one.entry.lane, one.entry.status, one.entry.reason), one) for one in letters]
    counts, by_key = Counter(key for key, _ in keyed), dict(keyed)
    return [(by_key[key], count) for key, count in counts.most_common(GROUPS)]


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
