"""Comparison of two lists of events, which shows whether everything that was sent over a link was received.

A list is read line by line from a file, a spool, a running relay or a receiver, and compared by SQL in a temporary
file, so a million lines need no more memory than a thousand.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from eaves.admin.queue import SpoolQueue
from eaves.base.backoff import Backoff
from eaves.errors import DeliveryError, InputError, StatusError
from eaves.spool import LedgerLine, Spool
from eaves.spool.ledger import parse_line, read_lines

VERDICTS = ("received", "waiting", "dead", "removed", "undelivered", "forgotten", "missing")
"""What became of an event that the sender took; each event counts under one of them.

received: the receiver has it, delivered or waiting there. waiting: it is still in the sender's queue. dead: the sender
keeps it as a dead letter, because the receiver refused it. removed: an operator deleted it from the sender's queue, or
it expired as a dead letter. undelivered: the receiver has taken it and not delivered it; it is a dead letter there, or
an operator deleted it there. forgotten: the sender released it before the time of the oldest line about the site that
the receiver still has, which has deleted its line or never had it. missing: the sender has released any other event
that the receiver doesn't have, or has with another content."""
COUNTED = ("sent", *VERDICTS, "repeated", "unknown")
"""What an audit counts: also all events that the sender took, how often the receiver got one of them again, and the
events that the receiver got and the sender never had."""
FINDINGS = 100
"""Maximum number of missing events, and of unknown events, that an audit lists."""
PAGE = 5_000
"""Number of ledger lines that one request asks for, about a megabyte."""
RETRY = Backoff(retry=5, first_s=0.5, cap_s=8.0)
"""Retries of a request for ledger lines over an unreliable link."""
_SQLITE = b"SQLite format 3\0"
"""First bytes of a spool's file. Source: sqlite.org/fileformat.html, section 1.3."""

Finding = Mapping[str, Any]
"""One event that is missing or unknown: its `source` and `id`, the `number` of its line in the list that has it, when
the writer of this list took it (`at`, Unix seconds), and `why` it is listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Result of a comparison.

    Attributes:
        totals: Number of events by the names of `COUNTED`.
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

    totals: Mapping[str, int]
    missing: Sequence[Finding] = field(default_factory=list)
    unknown: Sequence[Finding] = field(default_factory=list)
    newer: int = 0
    older: int = 0
    covers_from: float | None = None
    deleted: int = 0
    unexplained: int = 0

    @property
    def agrees(self) -> bool:
        """Whether nothing is missing, nothing is unknown, and the sender's list has all the lines that it should."""
        return not (self.totals["missing"] or self.totals["unknown"] or self.unexplained)

    @property
    def is_empty(self) -> bool:
        """Whether both lists are empty."""
        return not (self.totals["sent"] or self.totals["unknown"] or self.newer or self.older)

    @property
    def passed(self) -> bool:
        """Whether the lists agree, they aren't empty, and every event was received or still waits."""
        arrived = self.totals["received"] + self.totals["waiting"]
        return self.agrees and not self.is_empty and arrived == self.totals["sent"]

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as plain data."""
        return {**asdict(self), "passed": self.passed}


_TABLES = """
CREATE TABLE lines(list INTEGER, source TEXT, id TEXT, number INTEGER, at REAL, state TEXT, repeats INTEGER,
    digest TEXT, deleted INTEGER, count INTEGER DEFAULT 1, PRIMARY KEY(source, id, list)) WITHOUT ROWID;
CREATE VIEW sent AS SELECT * FROM lines WHERE list > 0;
CREATE VIEW received AS SELECT * FROM lines WHERE list = 0;
CREATE VIEW newer AS SELECT * FROM lines WHERE list < 0;
"""
"""Table of all lines: those of the senders' lists 1, 2, ..., of the receiver's (0), and what senders got later (-1)."""
_INSERT = """
INSERT INTO lines(list, source, id, number, at, state, repeats, digest, deleted)
    VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    repeats = repeats + 1 + excluded.repeats, count = count + 1, number = max(number, excluded.number),
    state = iif(list = 0 AND excluded.state IN ('queued', 'released'), excluded.state, state)
"""
"""Statement that adds a line; an event with several lines of a receiver is delivered when one of them says so."""
_LACKING = """
SELECT sum(count), min(number), max(number), max(deleted) FROM sent WHERE number > 0 GROUP BY list
"""
_COMPLETE_FROM = """
SELECT max(at) FROM (
    SELECT at, number - lag(number, 1, 0) OVER (PARTITION BY list ORDER BY number) AS step FROM sent WHERE number > 0
) WHERE step > 1
"""
"""Query for the time of the first line after the last gap in a list's line numbers."""
_DIFFERS = "(r.digest <> '' AND s.digest <> '' AND r.digest <> s.digest)"
_JUDGE = f"""
CREATE TABLE judged AS SELECT s.source, s.id, s.list, s.number, s.at, r.repeats AS repeats,
    CASE WHEN r.state IN ('dead', 'removed') AND NOT {_DIFFERS} THEN 'undelivered'
         WHEN r.id IS NOT NULL AND NOT {_DIFFERS} THEN 'received'
         WHEN s.state = 'queued' THEN 'waiting' WHEN s.state IN ('dead', 'removed') THEN s.state
         WHEN r.id IS NULL AND s.state = 'released' AND s.at > 0 AND s.at < coalesce(?1, 0) THEN 'forgotten'
         ELSE 'missing' END AS verdict,
    CASE WHEN {_DIFFERS} THEN 'the receiver has an event with this id but other content'
         ELSE s.state || ' at the sender' END AS why,
    CASE WHEN s.at > 0 AND r.at > 0 THEN r.at - s.at END AS took_s
    FROM sent s LEFT JOIN received r ON r.source = s.source AND r.id = s.id
"""  # noqa: S608 - constants
_KEPT_FROM = "SELECT CASE WHEN min(number) > 1 THEN min(at) FILTER (WHERE at > 0) END FROM received"
"""Query for the time of the first event whose line the receiver still has; NULL when its list begins with line 1,
because then no line was deleted."""
_UNMATCHED = """
CREATE TABLE unmatched AS SELECT r.source, r.id, 0 AS list, r.number, r.at, 'not in the sender''s list' AS why, CASE
    WHEN r.at > ?1 OR EXISTS (SELECT 1 FROM newer n WHERE n.source = r.source AND n.id = r.id) THEN 'newer'
    WHEN r.at < ?2 AND row_number() OVER (ORDER BY r.at, r.number) <= ?3 THEN 'older'
    ELSE 'unknown' END AS verdict
    FROM received r WHERE NOT EXISTS (SELECT 1 FROM sent s WHERE s.source = r.source AND s.id = r.id)
"""
"""Statement that judges received events that nobody sent: no more of them are older than the sender's first line than
the sender has deleted lines."""


class EventComparison:
    """Compares the events that were sent with those that were received."""

    def __init__(self) -> None:
        self._senders, self._is_live = 0, False
        # An empty name makes a temporary file that SQLite deletes itself. Source: sqlite.org/inmemorydb.html
        self._db = sqlite3.connect("", isolation_level=None)
        for pragma in ("cache_size = -64000", "journal_mode = OFF", "synchronous = OFF", "temp_store = FILE"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add_sent(self, lines: Iterable[LedgerLine]) -> int:
        """Add the list of a sender, in any order, and return the highest number of its lines.

        The lists of several senders are added one after another.
        """
        self._senders += 1
        self._add(self._senders, lines)
        return self._one("SELECT max(number) FROM sent WHERE list = ?", self._senders) or 0

    def add_received(self, lines: Iterable[LedgerLine]) -> None:
        """Add lines of the receiver's list."""
        self._add(0, lines)

    def add_newer(self, lines: Iterable[LedgerLine]) -> None:
        """Add lines that the sender got while the receiver's list was read; they explain further received events.

        Without this call, every event that was received after the time of the sender's last line counts as newer than
        the sender's list, by the clocks of both.
        """
        self._is_live = True
        self._add(-1, lines)

    def finish(self) -> Audit:
        """Compare the lists and return the result."""
        deleted = unexplained = 0
        for count, first, last, known in self._db.execute(_LACKING):
            explained = min(last - count, first - 1 if known is None else known)
            deleted, unexplained = deleted + explained, unexplained + last - count - explained
        complete_from = self._one(_COMPLETE_FROM) if deleted + unexplained else None
        self._db.execute(_JUDGE, (self._one(_KEPT_FROM),))
        longest_s = self._one("SELECT max(took_s) FROM judged WHERE verdict IN ('received', 'undelivered')") or 0.0
        older_s = complete_from + max(0.0, longest_s) if complete_from else 0.0
        newest = float("inf") if self._is_live else self._one("SELECT max(at) FROM sent") or float("inf")
        self._db.execute(_UNMATCHED, (newest, older_s, deleted + unexplained))
        counts, unmatched = self._count("judged"), self._count("unmatched")
        repeated = self._one("SELECT total(repeats) FROM judged WHERE verdict IN ('received', 'undelivered')")
        counts |= {"sent": sum(counts.values()), "repeated": int(repeated), "unknown": unmatched.get("unknown", 0)}
        return Audit(
            totals={name: counts.get(name, 0) for name in COUNTED},
            missing=self._find("judged", "missing"),
            unknown=self._find("unmatched", "unknown"),
            newer=unmatched.get("newer", 0),
            older=unmatched.get("older", 0),
            covers_from=complete_from,
            deleted=deleted,
            unexplained=unexplained,
        )

    def _add(self, number: int, lines: Iterable[LedgerLine]) -> None:
        rows = (
            (
                *(number, line.source, line.id, line.number, line.taken_at, line.state, line.repeats),
                *(line.digest, line.deleted),
            )
            for line in lines
        )
        self._db.execute("BEGIN")
        self._db.executemany(_INSERT, rows)
        self._db.execute("COMMIT")

    def _count(self, table: str) -> dict[str, int]:
        return dict(self._db.execute(f"SELECT verdict, count(*) FROM {table} GROUP BY 1"))  # noqa: S608 - constants

    def _find(self, table: str, verdict: str) -> list[Finding]:
        sql = f"SELECT source, id, number, at, why FROM {table} WHERE verdict = ? ORDER BY list, number LIMIT ?"  # noqa: S608 - constants
        found = self._db.execute(sql, (verdict, FINDINGS))
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]

    def _one(self, sql: str, *values: object) -> Any:
        return self._db.execute(sql, values).fetchone()[0]


def read_pages(read: Callable[[int], Sequence[LedgerLine]], *, after: int = 0) -> Iterator[LedgerLine]:
    """Yield all the lines of a ledger.

    Args:
        read: Returns some lines with a higher number than the given one, in order; empty after the last.
        after: Number after which to begin.
    """
    while lines := read(after):
        yield from lines
        if lines[-1].number <= after:
            raise InputError("the numbers in the ledger are not in ascending order", hint="export the ledger again")
        after = lines[-1].number


def read_file(path: Path) -> Iterator[LedgerLine]:
    """Yield the lines of a file: JSON lines, or a spool that keeps a ledger, whether a process uses it or not.

    Raises:
        InputError: When the file can't be read.
        NotFoundError: When the file is a spool without a ledger.
        SpoolError: When the spool can't be opened.
    """
    try:
        with path.open("rb") as stream:
            is_spool = stream.read(len(_SQLITE)) == _SQLITE
            stream.seek(0)
            if not is_spool:
                yield from read_lines(stream, str(path))
                return
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}", hint=f"ls -l {path}") from error
    with Spool(path) as spool:
        yield from read_pages(lambda after: SpoolQueue(spool).ledger(after=after))


def read_receiver(
    ask: Callable[[int, int], Sequence[Any]], address: str, *, retry: Backoff = RETRY
) -> Iterator[LedgerLine]:
    """Yield the lines of a receiver's ledger about the caller's site, over the link.

    Args:
        ask: Function from a number and a limit to the next lines as plain data, `LinkClient.read_ledger`.
        address: Name of the receiver in errors.
        retry: Retries of a request for a page of lines that failed.

    Raises:
        DeliveryError: When the receiver can't be asked.
        InputError: When the answer is no ledger.
    """

    def read(after: int, failures: int = 0) -> list[LedgerLine]:
        try:
            return [parse_line(values) for values in ask(after, PAGE)]
        except DeliveryError as error:
            if isinstance(error, StatusError) or retry.exhausted(failures + 1):
                raise
            time.sleep(retry.pause_s(failures + 1))
            return read(after, failures + 1)
        except ValueError as error:
            hint = "check that the address is the address of a receiver"
            raise InputError(f"{address} didn't answer with a ledger: {error}", hint=hint) from error

    return read_pages(read)
