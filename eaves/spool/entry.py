"""Types of entries and dead letters, and conversion of events to and from rows of a table."""

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
"""An event's row: source, id, attributes as JSON, data, checksum of attributes and data, and their size in bytes."""


class PutOutcome(enum.Enum):
    """Outcome of putting an event."""

    STORED = "stored"
    """The event is on disk."""
    REPEATED = "repeated"
    """The same event was put before and is not stored again."""
    CONFLICTING = "conflicting"
    """Another event with the same source and id was put before; this event is not stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event waiting in one lane.

    Attributes:
        seq: Sequence number, which gives the order and is unique during the life of the file.
        lane: Name of the lane.
        event: Event to deliver.
        attempts: Number of failed attempts so far.
        first_put_at: Time at which the event was put, Unix seconds.
        size_bytes: Size of its data and attributes, bytes, as the queue counts them.
    """

    seq: int
    lane: str
    event: Event
    attempts: int
    first_put_at: float
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An entry that is not delivered any more and is kept for inspection.

    Attributes:
        entry: Entry that was not delivered.
        reason: Reason that was recorded last.
        status: HTTP status that made it a dead letter; 0 when there was no response.
        died_at: Time at which it became a dead letter, Unix seconds.
    """

    entry: Entry
    reason: str
    status: int
    died_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatus:
    """Counts and sizes of one lane.

    Attributes:
        lane: Name of the lane.
        queued: Number of entries that wait for delivery.
        dead: Number of dead letters.
        queued_bytes: Size of the queued entries' data and attributes, in bytes.
        dead_bytes: Size of the dead letters' data and attributes, in bytes.
        oldest_at: Time at which the oldest queued entry was put, Unix seconds; None when the lane is empty.
    """

    lane: str
    queued: int
    dead: int
    queued_bytes: int
    dead_bytes: int
    oldest_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRequest:
    """An event that is to be stored.

    Attributes:
        row: Values of the event's row in the table `events`.
        lanes: Lanes that get an entry for the event, without repetitions.
        digest: Digest of the event's content for the ledger; empty when the spool has no ledger.
        key: Key of the event's line in the ledger's index; 0 when the spool has no ledger.
    """

    row: EventRow
    lanes: tuple[str, ...]
    digest: bytes
    key: int

    @property
    def source(self) -> str:
        """Source of the event."""
        return self.row[0]

    @property
    def event_id(self) -> str:
        """Id of the event."""
        return self.row[1]


def to_row(event: Event, attributes: Mapping[str, str] | None = None) -> EventRow:
    """Return the row of an event in the table `events`.

    Args:
        event: Event to store.
        attributes: Result of `event.attributes()` when the caller has it already; None computes it.
    """
    text = render_attributes(event.attributes() if attributes is None else attributes)
    return event.source, event.id, text, event.data, crc(text, event.data), len(text) + len(event.data)


def render_attributes(attributes: Mapping[str, str]) -> str:
    """Return the attributes as JSON, as `json.dumps` renders them.

    This takes half the time of `json.dumps`, which builds an encoder at each call.
    """
    quote = encode_basestring_ascii
    return "{" + ", ".join([f"{quote(name)}: {quote(value)}" for name, value in attributes.items()]) + "}"


def crc(attributes: str, data: bytes) -> int:
    """Return the checksum of a row, which shows whether its bytes changed on disk after the event was put."""
    return zlib.crc32(data, zlib.crc32(attributes.encode()))


def to_event(attributes: str, data: bytes) -> Event:
    """Return the event that a row holds.

    Raises:
        ValueError: When the values are not what `to_row` writes.
        KeyError: When a required attribute of an event is missing.
    """
    values: Any = json.loads(attributes) if isinstance(attributes, str) and attributes.isascii() else None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError("its attributes are not the JSON of an event")
    if not isinstance(data, bytes):
        raise ValueError("its data is not binary")  # noqa: TRY004 - the row is wrong, not the call
    extensions = {name: value for name, value in values.items() if name not in CONTEXT_ATTRIBUTES}
    content_type = values.get("datacontenttype")
    return Event(
        id=values["id"],
        source=intern(values["source"]),  # keeps one copy in memory of values that many events share
        type=intern(values["type"]),
        data=data,
        datacontenttype=None if content_type is None else intern(content_type),
        subject=values.get("subject"),
        time=values.get("time"),
        dataschema=values.get("dataschema"),
        extensions=extensions,
    )


def build_entry(row: Sequence[Any]) -> Entry:
    """Return the entry of a row (number, lane, attributes, data, attempts, time of put, checksum).

    Raises:
        ValueError: When the values are not what `to_row` writes, or the checksum differs.
        KeyError: When a required attribute of an event is missing.
    """
    seq, lane, attributes, data, attempts, put_at, known = row[:7]
    event = to_event(attributes, data)
    if known is not None and known != crc(attributes, data):
        raise ValueError("its content has changed since it was stored")
    size_bytes = len(attributes) + len(data)
    return Entry(seq=seq, lane=intern(lane), event=event, attempts=attempts, first_put_at=put_at, size_bytes=size_bytes)
