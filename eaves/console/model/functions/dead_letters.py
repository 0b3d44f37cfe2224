"""Dead letters in words: rows of a page, groups with the same reason, and what became of an entry after a retry."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eaves.admin import LaneReport
from eaves.console.model.functions.deliveries import describe_lane
from eaves.console.model.words import count_noun
from eaves.web.problem_document import describe_reason

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
class DeadLetterRow:
    """One dead letter, or an entry that was one.

    Attributes:
        seq: Number of the entry.
        lane: Name of the lane.
        lane_title: Purpose of the lane.
        is_dead: Whether it is a dead letter; otherwise it waits for delivery.
        source: Source of the event.
        subject: Subject of the event, such as the file's name; the event's id when it has none.
        type: Type of the event.
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
    source: str
    subject: str
    type: str
    size_bytes: int
    attempts: int
    put_at: float
    died_at: float
    status: str
    advice: str
    reason: str
    raw_reason: str
    is_image: bool

    @property
    def source_name(self) -> str:
        """Last part of the source, the name of a camera."""
        return self.source.rpartition("/")[2] or self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonGroup:
    """Dead letters of one lane with the same reason.

    Attributes:
        lane: Name of the lane.
        lane_title: Purpose of the lane.
        status: What the HTTP status means.
        reason: The reason in words.
        raw_reason: The recorded reason, which selects the entries; empty when none was recorded.
        count: Number of them among those that were counted.
    """

    lane: str
    lane_title: str
    status: str
    reason: str
    raw_reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOutcome:
    """What became of an entry after a retry.

    Attributes:
        is_final: Whether nothing more is expected, so that the page stops looking.
        tone: `ok`, `failing` or `starting`, which chooses picture and colour.
        text: What happened, as a sentence.
        reason: Why it isn't delivered, in words; empty when it is or when no reason is known.
    """

    is_final: bool
    tone: str
    text: str
    reason: str = ""


def build_dead_letter(entry: Mapping[str, Any]) -> DeadLetterRow:
    """Build the row of an entry, which an agent of another version may have described."""
    status, reason = _number(entry, "status"), _text(entry, "reason")
    is_dead = _text(entry, "state") == "dead"
    return DeadLetterRow(
        seq=int(_number(entry, "seq")),
        lane=_text(entry, "lane"),
        lane_title=describe_lane(_text(entry, "lane")),
        is_dead=is_dead,
        source=_text(entry, "source"),
        subject=_text(entry, "subject") or _text(entry, "event_id"),
        type=_text(entry, "type"),
        size_bytes=int(_number(entry, "size_bytes")),
        attempts=int(_number(entry, "attempts")),
        put_at=_number(entry, "put_at"),
        died_at=_number(entry, "died_at"),
        status=describe_status(int(status)) if is_dead else "",
        advice=advise(int(status)) if is_dead else "",
        reason=shorten_reason(reason),
        raw_reason=reason,
        is_image=_text(entry, "datacontenttype").lower().startswith("image/"),
    )


def shorten_reason(reason: str) -> str:
    """Return a recorded reason in words, without the HTTP status, which is shown beside it."""
    return _STATUS.sub("", describe_reason(reason))


def group_by_reason(rows: Iterable[DeadLetterRow]) -> tuple[ReasonGroup, ...]:
    """Return the reasons of dead letters with their counts, the most frequent first, at most `GROUPS`."""
    counts = Counter((row.lane, row.lane_title, row.status, row.reason, row.raw_reason) for row in rows)
    return tuple(
        ReasonGroup(lane=lane, lane_title=title, status=status, reason=reason, raw_reason=raw, count=count)
        for (lane, title, status, reason, raw), count in counts.most_common(GROUPS)
    )


def describe_status(status: int) -> str:
    """Return what an HTTP status means for an event, with its number; `not delivered` for 0."""
    if status in STATUSES:
        meaning = STATUSES[status]
    elif status >= 500:
        meaning = "the receiver failed"
    else:
        meaning = "refused"
    return f"{meaning} ({status})" if status else meaning


def advise(status: int) -> str:
    """Return what a person can do about a dead letter with an HTTP status; 0 stands for no answer."""
    return ADVICE.get(status) or (SAME_AGAIN if 0 < status < 500 else RETRY_LATER)


def describe_outcome(
    entry: Mapping[str, Any] | None, lane: LaneReport | None, *, waited_s: float, died_before: float
) -> RetryOutcome:
    """Describe what became of an entry since it was queued again.

    Args:
        entry: The entry; None when the queue has it no more.
        lane: Report on its lane; None when it isn't known.
        waited_s: Time since the retry, seconds.
        died_before: `died_at` of the entry before the retry. Another value says that it failed again; times of the
            queue's process are not compared with those of this machine.
    """
    after = count_noun(max(1, math.ceil(waited_s)), "second")
    if entry is None:
        return RetryOutcome(is_final=True, tone="ok", text=f"It was queued again and delivered within {after}.")
    row = build_dead_letter(entry)
    if row.is_dead:
        is_new = row.died_at != died_before
        text = "It was queued again, and it failed again." if is_new else "It is still a dead letter."
        return RetryOutcome(is_final=True, tone="failing", text=text, reason=row.reason)
    if lane is not None and not lane.delivering:
        text = "It is queued again, but nothing delivers this queue now. It is delivered when its trigger runs again."
        return RetryOutcome(is_final=True, tone="starting", text=text)
    if lane is not None and lane.paused:
        text = f"It is queued again and waits for {after}, because delivery is paused. It is tried again by itself."
        return RetryOutcome(is_final=False, tone="starting", text=text, reason=describe_reason(lane.reason))
    text = f"It is queued again and has waited for {after} to be delivered."
    return RetryOutcome(is_final=False, tone="starting", text=text, reason=row.reason if row.attempts else "")


def describe_change(done: str, count: int) -> str:
    """Return what a change did, such as `3 dead letters are queued again.`.

    Args:
        done: `retried` or `deleted`.
        count: Number of changed dead letters.
    """
    if count == 0:
        return "No dead letter was changed: somebody may have retried or deleted them meanwhile."
    letters = count_noun(count, "dead letter")
    verb = "is" if count == 1 else "are"
    return f"{letters} {verb} queued again." if done == "retried" else f"{letters} {verb} deleted."


def describe_data(content_type: str, data: bytes) -> str:
    """Return the beginning of an event's data when that is text; empty for other data."""
    media_type = content_type.partition(";")[0].strip().lower()
    if not media_type.startswith("text/") and not media_type.endswith(("/json", "+json")):
        return ""
    text = data[: MAX_TEXT + 1].decode(errors="replace")
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."


def next_after(rows: Sequence[DeadLetterRow]) -> int:
    """Return the number after which the next page begins; 0 when this is the last page."""
    return rows[-1].seq if len(rows) >= PAGE else 0


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""


def _number(entry: Mapping[str, Any], name: str) -> float:
    value = entry.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0
