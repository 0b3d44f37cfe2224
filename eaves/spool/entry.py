"""What the queue hands out, and how an event is laid out in its table."""

from __future__ import annotations

import enum
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from sys import intern
from typing import Any

from eaves.events import CONTEXT_ATTRIBUTES, Event

Puts = Sequence[tuple[Event, tuple[str, ...]]]
"""Events to store, each with its lanes."""
EventRow = tuple[str, str, str, bytes, int, int]
"""source, id, attributes as JSON, data, checksum of these two, their size in bytes."""


class PutOutcome(enum.Enum):
    """What became of an event that was put."""

    STORED = "stored"
    """It is on disk."""
    REPEATED = "repeated"
    """The same event was put before; it is not stored again."""
    CONFLICTING = "conflicting"
    """Another event was put before under the same source and id; this one is not stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event waiting on one lane.

    Attributes:
        seq: Its place in the queue, unique for the life of the file.
        lane: Where it is to be delivered.
        event: What is to be delivered.
        attempts: Failed attempts so far.
        first_put_at: When it was put, Unix seconds.
    """

    seq: int
    lane: str
    event: Event
    attempts: int
    first_put_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An entry that was given up on and is kept for inspection.

    Attributes:
        entry: What was not delivered.
        reason: Why, as last recorded.
        status: HTTP status that decided it, 0 when there was no answer.
        died_at: When, Unix seconds.
    """

    entry: Entry
    reason: str
    status: int
    died_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatus:
    """What a lane holds.

    Attributes:
        lane: Its name.
        queued: Entries that wait to be delivered.
        dead: Dead letters kept.
        queued_bytes: Data and attributes of those that wait.
        dead_bytes: Data and attributes of the dead letters.
        oldest_at: When the oldest entry that waits was put, Unix seconds; None when none waits.
    """

    lane: str
    queued: int
    dead: int
    queued_bytes: int
    dead_bytes: int
    oldest_at: float | None


def to_row(event: Event, attributes: Mapping[str, str] | None = None) -> EventRow:
    """An event as its table holds it.

    Args:
        event: The event.
        attributes: What its `attributes` gave; None asks for them.
    """
    text = render_attributes(event.attributes() if attributes is None else attributes)
    return event.source, event.id, text, event.data, crc(text, event.data), len(text) + len(event.data)


def render_attributes(attributes: Mapping[str, str]) -> str:
    """What `json.dumps` makes of attributes, in half the time: it builds an encoder at each call."""
    quote = encode_basestring_ascii
    return "{" + ", ".join([f"{quote(name)}: {quote(value)}" for name, value in attributes.items()]) + "}"


def crc(attributes: str, data: bytes) -> int:
    """The checksum of a row, which tells an event that was put from one whose bytes were changed on the disk."""
    return zlib.crc32(data, zlib.crc32(attributes.encode()))


def to_event(attributes: str, data: bytes) -> Event:
    """The event a row holds.

    Raises:
        ValueError: When they are not as `to_row` writes them.
        KeyError: When an attribute that every event has is missing.
    """
    values: Any = json.loads(attributes) if isinstance(attributes, str) and attributes.isascii() else None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError("its attributes are not JSON of an event")
    if not isinstance(data, bytes):
        raise ValueError("its data are not bytes")  # noqa: TRY004 - the row is wrong, not the call
    extensions = {name: value for name, value in values.items() if name not in CONTEXT_ATTRIBUTES}
    content_type = values.get("datacontenttype")
    return Event(
        id=values["id"],
        source=intern(values["source"]),  # what many events have in common is in memory once
        type=intern(values["type"]),
        data=data,
        datacontenttype=None if content_type is None else intern(content_type),
        subject=values.get("subject"),
        time=values.get("time"),
        dataschema=values.get("dataschema"),
        extensions=extensions,
    )


def build_entry(row: Sequence[Any]) -> Entry:
    """The entry of a row: number, lane, attributes, data, attempts, when it was put, checksum.

    Raises:
        ValueError: As `to_event`, and when the checksum is another one.
        KeyError: As `to_event`.
    """
    seq, lane, attributes, data, attempts, put_at, known = row[:7]
    event = to_event(attributes, data)
    if known is not None and known != crc(attributes, data):
        raise ValueError("its bytes are not those that were put")
    return Entry(seq=seq, lane=intern(lane), event=event, attempts=attempts, first_put_at=put_at)
