"""A line of the ledger, the ledger's limits, and the digest of an event's content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from eaves.events import REPLY_TYPES
from eaves.spool.entry import render_attributes

LineState = Literal["queued", "released", "dead", "removed", "lost"]
STATES: tuple[LineState, ...] = ("queued", "released", "dead", "removed", "lost")
"""States of a ledger line; the table stores each state as its position in this list."""
DIGEST_BYTES = 8
"""Number of bytes of SHA-256 that a line keeps of an event's content. They tell a repetition from another event that
has the same id by mistake; a sender that may use a source can forge its events anyway.
"""
REASON_CHARACTERS = 160
"""Maximum number of characters of a reason that a line keeps."""
_ADDED_ON_THE_WAY = ("traceparent", "tracestate", "knative")
"""Prefixes of the names of attributes that a broker or a tracer adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLimits:
    """Limits of a ledger.

    Attributes:
        max_entries: Maximum number of lines; each takes 150 to 200 bytes of the file. Beyond it the oldest lines whose
            events have left the spool are deleted and counted. An event that comes again after its line was deleted
            counts as a new one.
        ignored_lanes: Lanes whose entries don't count for the state of a line, such as lanes with copies for another
            receiver.
    """

    max_entries: int = 1_000_000
    ignored_lanes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLine:
    """One line of a ledger: the record of one event that was put into the spool.

    Attributes:
        number: Line number in the order of arrival; never used again.
        source: Source of the event.
        id: Id of the event.
        taken_at: Time at which the event was put first, Unix seconds.
        state: `queued` while any entry of the event waits; `dead` when no entry waits and some are dead letters;
            `released` when all were delivered; `removed` when one was deleted instead, by an operator or because the
            dead letters' budget was used up; `lost` when the file was damaged and the event could not be read. A lost
            event is stored when it comes again.
        changed_at: Time at which the state changed last, Unix seconds.
        repeats: Number of times that the same event came again.
        reason: Reason why the event is dead or removed; empty otherwise.
        digest: Digest of the event's content in hexadecimal digits; empty when it isn't known.
        deleted: Number of lines that the ledger had deleted to keep its limit; set only in the first line of a reading
            of the whole ledger. Line numbers that are neither present nor counted here belong to lost lines.
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
    """Numbers of a ledger's lines by state, and its other counters.

    Attributes:
        queued: Number of lines in the state `queued` of `LedgerLine.state`.
        released: Number of lines in the state `released`.
        dead: Number of lines in the state `dead`.
        removed: Number of lines in the state `removed`.
        lost: Number of lines in the state `lost`.
        repeats: Number of events that came again since the ledger was created.
        conflicts: Number of events with the source and id of another event since the ledger was created. They were not
            stored.
        deleted: Number of lines that were deleted to keep `LedgerLimits.max_entries` since the ledger was created.
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
    """Return the digest of an event's content, which is the same on whatever path the event arrives.

    Attributes that a broker or a tracer adds don't count, because they may differ at a second delivery. For replies of
    functions only source, id and type count: the id is made from the image's id and the artifact, so a second
    prediction of an image gives the same reply, although its timings differ.
    """
    if attributes.get("type") in REPLY_TYPES:
        own, data = {name: attributes.get(name, "") for name in ("id", "source", "type")}, b""
    else:
        names = sorted(attributes)
        own = {name: attributes[name] for name in names if not name.startswith(_ADDED_ON_THE_WAY)}
    head = render_attributes(own).encode()
    return hashlib.sha256(len(head).to_bytes(8, "big") + head + data).digest()[:DIGEST_BYTES]


def line_key(source: str, event_id: str) -> int:
    """Return the key of a line in the index: 64 bits of SHA-256 of source, NUL and id, signed."""
    digest = hashlib.sha256(f"{source}\0{event_id}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
