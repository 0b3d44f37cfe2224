"""Two lists of events compared, in a temporary file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from eaves.audit import queries
from eaves.audit.findings import Audit, Finding, HourCounts
from eaves.spool import LedgerLine
from eaves.spool.ledger.line import line_key

FINDINGS = 100
"""Missing and unknown events that are named."""
REASONS = 20
"""Reasons of dead letters that are told apart."""
LATE_S = 60.0
"""After how many seconds an event is late unless said otherwise."""
_CACHE_KB = 16_000


@dataclass(slots=True)
class _Numbers:
    """The highest number of a list so far."""

    last: int = 0


class Comparison:
    """Compares what was sent with what was received.

    Args:
        late_s: After how many seconds an event is late.
    """

    def __init__(self, *, late_s: float = LATE_S) -> None:
        self._late_s = late_s
        self._last_at = 0.0
        self._complete_from = 0.0
        self._is_live = False
        # An empty name is a file that SQLite makes for itself and deletes. Source: sqlite.org/inmemorydb.html
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
        """Add the list of a sender, in the order of its numbers; several senders are one after another.

        Returns:
            The highest number of its lines.
        """
        numbers = _Numbers()
        self._insert("sent", self._follow(lines, numbers))
        return numbers.last

    def add_received(self, lines: Iterable[LedgerLine]) -> None:
        """Add lines of the receiver's list."""
        self._insert("received", lines)

    def add_newer(self, lines: Iterable[LedgerLine]) -> None:
        """Add lines that came to the sender's list while the receiver's was read: they explain what was received.

        Without this call everything that was received after the sender's last line is taken for newer than its list.
        """
        self._is_live = True
        self._insert("newer", lines)

    def finish(self) -> Audit:
        """Compare."""
        for table in ("sent", "received", "newer"):
            self._db.executescript(queries.SORT.format(table))
            self._join_repetitions(table)
        self._db.execute(queries.JUDGE, (self._one(queries.KEPT_FROM) or 0.0,))
        longest_s = self._one("SELECT max(took_s) FROM judged WHERE verdict = 'received'")
        older_s = self._complete_from + max(0.0, longest_s or 0.0) if self._complete_from else 0.0
        newest = float("inf") if self._is_live or not self._last_at else self._last_at
        self._db.execute(queries.UNMATCHED, (newest, older_s))
        return Audit(
            totals=self._sum(),
            hours=tuple(self._hours()),
            late_s=self._late_s,
            longest_s=longest_s,
            dead_reasons=dict(self._reasons()),
            missing=tuple(self._missing()),
            unknown=tuple(self._unknown()),
            newer=self._count("newer"),
            older=self._count("older"),
        )

    def _follow(self, lines: Iterable[LedgerLine], numbers: _Numbers) -> Iterator[LedgerLine]:
        """Note from when on no line of a list was deleted: numbers follow each other from there."""
        for line in lines:
            if line.number > numbers.last + 1:
                self._complete_from = max(self._complete_from, line.taken_at)
            numbers.last = max(numbers.last, line.number)
            self._last_at = max(self._last_at, line.taken_at)
            yield line

    def _insert(self, table: str, lines: Iterable[LedgerLine]) -> None:
        rows = (
            (
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
        """Keep one line of each event that a list has several times, and count the others as repetitions."""
        for again, before in self._db.execute(queries.TWICE.format(table)).fetchall():
            update = f"UPDATE {table} SET repeats = repeats + 1 + (SELECT repeats FROM {table} WHERE row = ?)"  # noqa: S608 - constants
            self._db.execute(f"{update} WHERE row = ?", (again, before))
            self._db.execute(f"DELETE FROM {table} WHERE row = ?", (again,))  # noqa: S608 - constants

    def _hours(self) -> Iterator[HourCounts]:
        unknown = dict(
            self._db.execute(
                f"SELECT {queries.HOUR.format('r')}, count(*)"  # noqa: S608 - constants
                " FROM unmatched u JOIN received r ON r.row = u.row WHERE verdict = 'unknown' GROUP BY 1"
            ).fetchall()
        )
        counted = {row[0]: row for row in self._db.execute(queries.COUNTS, (self._late_s,))}
        for hour in sorted(unknown.keys() | counted.keys()):
            values = counted.get(hour, (hour, *[0] * 9))
            yield _counts(hour, values[1:], unknown.get(hour, 0))

    def _sum(self) -> HourCounts:
        hours = list(self._hours())
        names = [name for name in HourCounts.__slots__ if name != "hour"]
        return HourCounts(**{name: sum(getattr(hour, name) for hour in hours) for name in names})

    def _reasons(self) -> list[tuple[str, int]]:
        sql = (
            "SELECT s.reason, count(*) FROM judged j JOIN sent s ON s.row = j.row WHERE j.verdict = 'dead'"
            " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?"
        )
        return self._db.execute(sql, (REASONS,)).fetchall()

    def _missing(self) -> Iterator[Finding]:
        sql = (
            "SELECT s.source, s.id, s.number, s.at, j.there, s.state, s.reason FROM judged j"
            " JOIN sent s ON s.row = j.row WHERE j.verdict = 'missing' ORDER BY s.place LIMIT ?"
        )
        for source, event_id, number, at, there, state, reason in self._db.execute(sql, (FINDINGS,)):
            told = f"{state}: {reason}" if reason else f"{state} at the sender"
            why = "the receiver has another content under this id" if there else told
            yield Finding(source=source, id=event_id, number=number, at=at, why=why)

    def _unknown(self) -> Iterator[Finding]:
        sql = (
            "SELECT r.source, r.id, r.number, r.at FROM unmatched u JOIN received r ON r.row = u.row"
            " WHERE u.verdict = 'unknown' ORDER BY r.place LIMIT ?"
        )
        for source, event_id, number, at in self._db.execute(sql, (FINDINGS,)):
            yield Finding(source=source, id=event_id, number=number, at=at, why="the sender's list doesn't have it")

    def _count(self, verdict: str) -> int:
        return int(self._one("SELECT count(*) FROM unmatched WHERE verdict = ?", verdict))

    def _one(self, sql: str, *values: Any) -> Any:
        return self._db.execute(sql, values).fetchone()[0]


def _counts(hour: str, values: Iterable[float], unknown: int) -> HourCounts:
    names = ("sent", "received", "waiting", "dead", "removed", "forgotten", "missing", "repeated", "late")
    counts = {name: int(value) for name, value in zip(names, values, strict=True)}
    return HourCounts(hour=hour, **counts, unknown=unknown)
