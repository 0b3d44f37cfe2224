"""Result types of an audit, which compares the events that were sent with those that were received."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCounts:
    """Events that the sender took, counted by result.

    Each event is counted under one of seven results: received, waiting, dead, removed, undelivered, forgotten, missing.

    Attributes:
        sent: Number of events that the sender took.
        received: Number of those that the receiver has, delivered or waiting there.
        waiting: Number of those that are still in the sender's queue.
        dead: Number of those that the sender keeps as dead letters, because the receiver refused them.
        removed: Number of those that an operator deleted from the sender's queue, or that expired as dead letters.
        undelivered: Number of those that the receiver has taken and not delivered: they are dead letters there, or an
            operator deleted them there.
        forgotten: Number of sent events that the sender released before the time of the oldest line about the site that
            the receiver still has. The receiver has deleted the lines of these events to keep its ledger's limit, or
            never had them.
        missing: Number of other events that the sender has released and the receiver doesn't have, or has with another
            content, and of events lost by damage to the sender's or the receiver's disk.
        repeated: Number of times that the receiver got a sent event again.
        late: Number of received events that took longer than the limit.
        unknown: Number of events that the receiver got and the sender never had.
    """

    sent: int = 0
    received: int = 0
    waiting: int = 0
    dead: int = 0
    removed: int = 0
    undelivered: int = 0
    forgotten: int = 0
    missing: int = 0
    repeated: int = 0
    late: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFinding:
    """One event that is missing or unknown.

    Attributes:
        source: `source` of the event.
        id: Id of the event.
        number: Number of the event's line in the list that contains the event.
        at: When the sender or receiver that wrote this list took the event, Unix seconds.
        why: Explanation, for people.
    """

    source: str
    id: str
    number: int
    at: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Result of a comparison.

    Attributes:
        totals: Counts of all events.
        late_s: Time after which an event was late, seconds.
        longest_s: Longest time that an event took, seconds; None when nothing was received.
        dead_reasons: Number of dead events by reason.
        undelivered_reasons: Number of undelivered events by reason.
        missing: First missing events.
        unknown: First unknown events.
        newer: Number of events that were received after the sender's list was made; no other number includes them.
        older: Number of received events whose lines the sender may have deleted to keep its ledger's limit; no other
            number includes them.
        covers_from: Time of the sender's first line from which on its list is complete, Unix seconds; None when the
            whole list is.
        deleted: Number of lines that the sender has deleted to keep its ledger's limit; their events can't be checked.
        unexplained: Number of further lines that the sender's list lacks, according to its numbers.
    """

    totals: AuditCounts
    late_s: float
    longest_s: float | None = None
    dead_reasons: Mapping[str, int] = field(default_factory=dict)
    undelivered_reasons: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[AuditFinding, ...] = ()
    unknown: tuple[AuditFinding, ...] = ()
    newer: int = 0
    older: int = 0
    covers_from: float | None = None
    deleted: int = 0
    unexplained: int = 0

    @property
    def agrees(self) -> bool:
        """Whether nothing is missing, nothing is unknown, and the sender's list has all the lines that it should."""
        return not (self.totals.missing or self.totals.unknown or self.unexplained)

    @property
    def given_up(self) -> int:
        """Number of events that were accepted and then became dead letters, were deleted, or can't be traced."""
        return self.totals.dead + self.totals.removed + self.totals.undelivered + self.totals.forgotten

    @property
    def is_empty(self) -> bool:
        """Whether both lists are empty."""
        return not (self.totals.sent or self.totals.unknown or self.newer or self.older)

    @property
    def passed(self) -> bool:
        """Whether the lists agree, they aren't empty, and every event was received or still waits."""
        return self.agrees and not self.given_up and not self.is_empty

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as plain data, with lists in place of tuples."""
        found = {**asdict(self), "passed": self.passed}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}
