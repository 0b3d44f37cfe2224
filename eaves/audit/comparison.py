"""Comparison of the events that were sent with those that were received, by SQL in a temporary file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from eaves.audit import queries
from eaves.audit.findings import Audit, AuditCounts, AuditFinding
from eaves.spool import LedgerLine
from eaves.spool.ledger_schema import line_key

FINDINGS = 100
"""Maximum number of missing events, and of unknown events, that an audit lists."""
REASONS = 20
"""Maximum number of different reasons for dead letters that an audit lists."""
LATE_S = 60.0
"""Default for the delivery time above which an event counts as late, seconds."""
ON_THE_WAY_S = 60.0
"""Maximum plausible delivery time of the fastest event, seconds. When even the fastest event seems to have taken
longer, the receiver's clock is taken to be ahead of the sender's by the excess."""
_CACHE_KB = 16_000


@dataclass(slots=True)
class _Numbers:
    """Line numbers of one sender's list, which show whether the list is complete.

    Attributes:
        last: Highest line number so far.
        deleted: Number of lines that were deleted to keep the ledger's limit; None when the list doesn't say how many.
    """

    last: int = 0
    deleted: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Coverage:
    """How complete the senders' lists are: the time from which they have every line, and the number of missing lines.

    Attributes:
        complete_from: Time of the first line after which no line is missing, Unix seconds; 0 when none is missing.
        forgotten: Number of lines that the senders have deleted to keep their limits.
        unexplained: Number of further missing lines.
    """

    complete_from: float
    forgotten: int
    unexplained: int


class EventComparison:
    """Compares the events that were sent with those that were received.

    Args:
        late_s: Time after which an event is late, seconds.
    """

    def __init__(self, *, late_s: float = LATE_S) -> None:
        self._late_s = late_s
        self._last_at = 0.0
        self._senders: list[_Numbers] = []
        self._is_live = False
        # An empty name makes a temporary file that SQLite deletes itself. Source: sqlite.org/inmemorydb.html
        self._db = sqlite3.connect("", isolation_level=None)
        for pragma in (f"cache_size = -{_CACHE_KB}", "journal_mode = OFF", "synchronous = OFF", "temp_store = FILE"):
            self._db.execute(f"PRAGMA {pragma}")
        for table in ("sent", "received", "newer"):
            self._db.execute(queries.TABLE.format(table))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add_sent(self, lines: Iterable[LedgerLine]) -> int:
        """Add the list of a sender, in any order. The lists of several senders are added one after another.

        Returns:
            Highest number of its lines.
        """
        numbers = _Numbers()
        self._senders.append(numbers)
        self._insert("sent", self._follow(lines, numbers), len(self._senders))
        return numbers.last

    def add_received(self, lines: Iterable[LedgerLine]) -> None:
        """Add lines of the receiver's list."""
        self._insert("received", lines)

    def add_newer(self, lines: Iterable[LedgerLine]) -> None:
        """Add lines that the sender got while the receiver's list was read; they explain further received events.

        Without this call, every event that was received after the sender's last line counts as newer than the sender's
        list. The time of receipt is by the receiver's clock, whose difference to the sender's clock is estimated from
        the events that both lists contain.
        """
        self._is_live = True
        self._insert("newer", lines)

    def finish(self) -> Audit:
        """Compare the lists and return the result."""
        covered = self._cover()
        for table in ("sent", "received", "newer"):
            self._db.executescript(queries.SORT.format(table))
            self._join_repetitions(table)
        self._db.execute(queries.JUDGE, (self._one(queries.KEPT_FROM) or 0.0,))
        took_s = "FROM judged WHERE verdict IN ('received', 'undelivered')"
        longest_s, shortest_s = (self._one(f"SELECT {name}(took_s) {took_s}") for name in ("max", "min"))
        older_s = covered.complete_from + max(0.0, longest_s or 0.0) if covered.complete_from else 0.0
        newest = (
            float("inf") if self._is_live or not self._last_at else self._last_at + _clock_ahead_s(shortest_s or 0.0)
        )
        self._db.execute(queries.UNMATCHED, (newest, older_s))
        self._db.execute(queries.TOO_MANY, (covered.forgotten + covered.unexplained,))
        return Audit(
            totals=self._sum(),
            late_s=self._late_s,
            longest_s=longest_s,
            dead_reasons=self._reasons("dead", "s.reason"),
            undelivered_reasons=self._reasons("undelivered", "j.why"),
            missing=tuple(self._missing()),
            unknown=tuple(self._unknown()),
            newer=self._count("newer"),
            older=self._count("older"),
            covers_from=covered.complete_from or None,
            deleted=covered.forgotten,
            unexplained=covered.unexplained,
        )

    def _follow(self, lines: Iterable[LedgerLine], numbers: _Numbers) -> Iterator[LedgerLine]:
        for line in lines:
            numbers.last = max(numbers.last, line.number)
            if line.deleted is not None:
                numbers.deleted = max(numbers.deleted or 0, line.deleted)
            self._last_at = max(self._last_at, line.taken_at)
            yield line

    def _cover(self) -> _Coverage:
        """Return how complete the senders' lists are, from gaps in line numbers and counts of deleted lines."""
        forgotten = unexplained = 0
        for number, count, first, last in self._db.execute(queries.NUMBERS).fetchall():
            lacking, deleted = last - count, self._senders[number - 1].deleted
            explained = min(lacking, first - 1 if deleted is None else deleted)
            forgotten += explained
            unexplained += lacking - explained
        lacking = forgotten + unexplained
        complete_from = self._one(queries.COMPLETE_FROM) if lacking else None
        return _Coverage(complete_from=complete_from or 0.0, forgotten=forgotten, unexplained=unexplained)

    def _insert(self, table: str, lines: Iterable[LedgerLine], number: int = 0) -> None:
        rows = (
            (
                number,
                line_key(line.source, line.id),
                line.source,
                line.id,
                line.number,
                line.taken_at,
                line.state,
                line.repeats,
                line.digest,
                line.reason,
            )
            for line in lines
        )
        self._db.execute("BEGIN")
        self._db.executemany(queries.INSERT.format(table), rows)
        self._db.execute("COMMIT")

    def _join_repetitions(self, table: str) -> None:
        """Keep one line of each event that a list contains several times, and count the others as repetitions."""
        for again, before in self._db.execute(queries.TWICE.format(table)).fetchall():
            update = f"UPDATE {table} SET repeats = repeats + 1 + (SELECT repeats FROM {table} WHERE row = ?)"  # noqa: S608 - constants
            self._db.execute(f"{update} WHERE row = ?", (again, before))
            if table == "received":
                self._db.execute(queries.BETTER.format(table), (before, again))
            self._db.execute(f"DELETE FROM {table} WHERE row = ?", (again,))  # noqa: S608 - constants

    def _sum(self) -> AuditCounts:
        names = [name for name in AuditCounts.__slots__ if name != "unknown"]
        values = self._db.execute(queries.COUNTS, (self._late_s,)).fetchone()
        counts = {name: int(value) for name, value in zip(names, values, strict=True)}
        return AuditCounts(**counts, unknown=self._count("unknown"))

    def _reasons(self, verdict: str, reason: str) -> dict[str, int]:
        sql = (
            f"SELECT {reason}, count(*) FROM judged j JOIN sent s ON s.row = j.row WHERE j.verdict = ?"  # noqa: S608 - constants
            " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?"
        )
        return dict(self._db.execute(sql, (verdict, REASONS)).fetchall())

    def _missing(self) -> Iterator[AuditFinding]:
        sql = (
            "SELECT s.source, s.id, s.number, s.at, j.there, j.why, s.state, s.reason FROM judged j"
            " JOIN sent s ON s.row = j.row WHERE j.verdict = 'missing' ORDER BY s.place LIMIT ?"
        )
        for source, event_id, number, at, there, damage, state, reason in self._db.execute(sql, (FINDINGS,)):
            why = f"{state}: {reason}" if reason else f"{state} at the sender"
            if there == "other":
                why = "the receiver has an event with this id but other content"
            elif there == "lost":
                why = f"lost at the receiver: {damage}" if damage else "lost at the receiver"
            yield AuditFinding(source=source, id=event_id, number=number, at=at, why=why)

    def _unknown(self) -> Iterator[AuditFinding]:
        sql = (
            "SELECT r.source, r.id, r.number, r.at FROM unmatched u JOIN received r ON r.row = u.row"
            " WHERE u.verdict = 'unknown' ORDER BY r.place LIMIT ?"
        )
        for source, event_id, number, at in self._db.execute(sql, (FINDINGS,)):
            yield AuditFinding(source=source, id=event_id, number=number, at=at, why="not in the sender's list")

    def _count(self, verdict: str) -> int:
        return int(self._one("SELECT count(*) FROM unmatched WHERE verdict = ?", verdict))

    def _one(self, sql: str, *values: Any) -> Any:
        return self._db.execute(sql, values).fetchone()[0]


def _clock_ahead_s(shortest_s: float) -> float:
    """Return a lower bound for the lead of the receiver's clock over the sender's, from the shortest delivery time."""
    if shortest_s < 0:
        return shortest_s - 1.0  # events that are no longer in the list may have taken less time
    return max(0.0, shortest_s - ON_THE_WAY_S)
