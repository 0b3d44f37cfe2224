"""What an audit found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class HourCounts:
    """Events that the sender took in one hour, and what became of them.

    Each of them counts in one of seven ways: received, waiting, dead, removed, undelivered, forgotten, missing.

    Attributes:
        hour: Its begin, UTC, such as `2026-11-25T14:00Z`; empty in totals, and for events whose time isn't known.
        sent: Events that the sender took.
        received: Those that the receiver has, delivered or waiting there.
        waiting: Those that the sender still has in its queue.
        dead: Those that the sender keeps as dead letters, because the receiver refused them.
        removed: Those that somebody deleted from the sender's queue, or that expired as dead letters.
        undelivered: Those that the receiver has taken and not delivered: it keeps them as dead letters, or somebody
            deleted them there.
        forgotten: Those that the sender has released before the receiver took the first event of the site whose line
            it keeps: it has deleted their lines to keep its ledger's bound, or never had them.
        missing: The others that the sender has released and the receiver doesn't have, or has with another content, and
            those lost by damage to the disk of either.
        repeated: How often the receiver got one of them again.
        late: How many of the received ones took longer than the limit.
        unknown: Events that the receiver got in this hour and the sender never had.
    """

    hour: str = ""
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
        source: The event's.
        id: The event's.
        number: Its line's number in the list that has it.
        at: When that list's side took it, Unix seconds.
        why: What is known of it.
    """

    source: str
    id: str
    number: int
    at: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The result of a comparison.

    Attributes:
        totals: Of all hours.
        hours: By hour, in order.
        late_s: After how many seconds an event was late.
        longest_s: Longest time from one list to the other, seconds; None when nothing was received.
        dead_reasons: Why events are dead, with how many.
        undelivered_reasons: Why events are undelivered, with how many.
        missing: The first of the missing events.
        unknown: The first of the unknown events.
        newer: Events that were received after the sender's list was made; they are in no other number.
        older: Events that were received and whose lines the sender may have deleted to keep its ledger's bound; they
            are in no other number.
        covers_from: When the sender's first line was taken from which on its list is complete, Unix seconds; None when
            all of it is.
        deleted: Lines that the sender has deleted to keep its ledger's bound: of those events nothing is known.
        unexplained: Lines that the sender's list lacks beside those, by its numbers.
    """

    totals: HourCounts
    hours: tuple[HourCounts, ...]
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
        """Events that one side has taken and of which nothing shows that they were, or will be, delivered."""
        return self.totals.dead + self.totals.removed + self.totals.undelivered + self.totals.forgotten

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to compare."""
        return not (self.totals.sent or self.totals.unknown or self.newer or self.older)

    @property
    def passed(self) -> bool:
        """Whether the lists agree, something was compared, and every event was received or waits for it."""
        return self.agrees and not self.given_up and not self.is_empty

    def to_dict(self) -> dict[str, Any]:
        """As plain data, lists in place of tuples."""
        found = {**asdict(self), "passed": self.passed}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}
