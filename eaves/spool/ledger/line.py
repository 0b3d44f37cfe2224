"""A line of the ledger, its bounds, and what it keeps of an event's content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from eaves.events import REPLY_TYPES
from eaves.spool.entry import render_attributes

LineState = Literal["queued", "released", "dead", "removed", "lost"]
STATES: tuple[LineState, ...] = ("queued", "released", "dead", "removed", "lost")
"""The states in the order of the numbers that stand for them in the table."""
DIGEST_BYTES = 8
"""Bytes of SHA-256 that a line keeps of an event's content: they tell a repetition from another event by mistake, and
whoever may send events of a source can forge them anyway."""
REASON_CHARACTERS = 160
"""Characters of a reason that a line keeps."""
_ADDED_ON_THE_WAY = ("traceparent", "tracestate", "knative")
"""How the names of attributes begin that a broker or a tracer adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLimits:
    """The bound of a ledger.

    Attributes:
        max_entries: Lines that are kept; 150 to 200 bytes of the file each. Beyond it the oldest lines whose events
            have left the spool are deleted and counted. An event that comes again after its line was deleted is taken
            as a new one.
        ignored_lanes: Lanes whose deliveries don't count for the state of a line: copies for somebody else.
    """

    max_entries: int = 1_000_000
    ignored_lanes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLine:
    """What became of one event.

    Attributes:
        number: Its place in the ledger, in the order of arrival; never used again.
        source: The event's.
        id: The event's.
        taken_at: When it was put first, Unix seconds.
        state: `queued` while any delivery of it waits; `dead` when the others are dead letters; `released` when all
            were delivered; `removed` when one was deleted instead, by an operator or because the dead letters' budget
            was used up; `lost` when the file was damaged and the event could not be read: it is stored when it
            comes again.
        changed_at: When its state changed last, Unix seconds.
        repeats: How often the same event came again.
        reason: Why it is dead or removed, empty otherwise.
        digest: Stands for the event's content: hexadecimal digits; empty when it isn't known.
        deleted: Lines that the ledger had deleted to keep its bound when it was read; only the first line of a reading
            of the whole ledger says so. Numbers that are neither there nor among these are those of lost lines.
    """

    number: int
    source: str
    id: str
    taken_at: float
    state: LineState
    changed_at: float
    repeats: int
    reason: str = ""
    digest: str = ""
    deleted: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCounts:
    """How many lines there are.

    Attributes:
        queued: Lines in this state, as the next four.
        released: As `LedgerLine.state`.
        dead: As `LedgerLine.state`.
        removed: As `LedgerLine.state`.
        lost: As `LedgerLine.state`.
        repeats: Events that came again, since the ledger was made.
        conflicts: Events under the source and id of another event, since the ledger was made. They were not stored.
        deleted: Lines that were deleted to keep `LedgerLimits.max_entries`, since the ledger was made.
    """

    queued: int
    released: int
    dead: int
    removed: int
    lost: int
    repeats: int
    conflicts: int
    deleted: int


def content_digest(attributes: Mapping[str, str], data: bytes) -> bytes:
    """What stands for an event's content: equal for the same event, whichever way it came.

    Attributes that a broker or a tracer adds on the way don't count: a second delivery may carry other ones. Of the
    replies of functions only source, id and type count: such an id is made from the image's id and the artifact, so it
    is the same reply when an image is predicted a second time, although its timings are others.
    """
    if attributes.get("type") in REPLY_TYPES:
        own, data = {name: attributes.get(name, "") for name in ("id", "source", "type")}, b""
    else:
        names = sorted(attributes)
        own = {name: attributes[name] for name in names if not name.startswith(_ADDED_ON_THE_WAY)}
    head = render_attributes(own).encode()
    return hashlib.sha256(len(head).to_bytes(8, "big") + head + data).digest()[:DIGEST_BYTES]


def line_key(source: str, event_id: str) -> int:
    """What the index finds a line by: 64 bits of SHA-256 of source, NUL and id, signed."""
    digest = hashlib.sha256(f"{source}\0{event_id}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
