"""Comparison of two lists of events, which shows whether everything that was sent over a link was received.

A list is read line by line from a file, a spool, a running relay or a receiver, and compared by SQL in a temporary
file, so a million lines need no more memory than a thousand.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from eaves.base.backoff import Backoff
from eaves.base.clock import StopFlag
from eaves.errors import DeliveryError, InputError, NotFoundError, StatusError
from eaves.link.ledger_lines import parse_line, read_lines
from eaves.spool import LedgerLine, Spool

FINDINGS = 100
"""Maximum number of missing events, and of unknown events, that an audit lists."""
LATE_S = 60.0
"""Default for the delivery time above which an event counts as late, seconds."""
ON_THE_WAY_S = 60.0
"""Maximum plausible delivery time of the fastest event, seconds. When even the fastest event seems to have taken
longer, the receiver's clock is taken to be ahead of the sender's by the excess."""
PAGE = 5_000
"""Number of ledger lines that one request asks for, about a megabyte."""
RETRY = Backoff(retry=5, first_s=0.5, cap_s=8.0)
"""Retries of a request for ledger lines over an unreliable link."""
_SQLITE = b"SQLite format 3\0"
"""First bytes of a spool's file. Source: sqlite.org/fileformat.html, section 1.3."""
_CACHE_KB = 64_000


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


_COLUMNS = (
    "source TEXT, id TEXT, list INTEGER, number INTEGER, at REAL, state TEXT, repeats INTEGER, digest TEXT, reason TEXT"
)
_TABLES = "".join(
    f"CREATE TABLE {table}({_COLUMNS}, PRIMARY KEY(source, id)) WITHOUT ROWID;"
    for table in ("sent", "received", "newer")
) + (
    "CREATE TABLE numbers(list INTEGER, number INTEGER, at REAL, deleted INTEGER, PRIMARY KEY(list, number))"
    " WITHOUT ROWID;"
)
_REPEATS = "ON CONFLICT DO UPDATE SET repeats = repeats + 1 + excluded.repeats"
_INSERT = f"INSERT INTO {{}} VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) {_REPEATS}"
_DELIVERED = ", state = iif(excluded.state IN ('queued', 'released'), excluded.state, state)"
"""End of the statement for the receiver's list: an event with several lines is delivered when one of them says so."""
_COMPLETE_FROM = """
SELECT max(at) FROM (
    SELECT at, number - lag(number, 1, 0) OVER (PARTITION BY list ORDER BY number) AS step FROM numbers
) WHERE step > 1
"""
"""Query for the time of the first line after the last gap in a list's line numbers."""
_KEPT_FROM = "SELECT CASE WHEN min(number) > 1 THEN min(at) FILTER (WHERE at > 0) END FROM received"
"""Query for the time of the first event whose line the receiver still has; NULL when its list begins with line 1,
because then no line was deleted."""
_DIFFERS = "(r.digest <> '' AND s.digest <> '' AND r.digest <> s.digest)"
_JUDGE = f"""
CREATE TABLE judged AS SELECT s.source, s.id, s.list, s.number, s.at, s.state, s.reason,
    CASE WHEN r.state IN ('dead', 'removed') AND NOT {_DIFFERS} THEN 'undelivered'
         WHEN r.state <> 'lost' AND NOT {_DIFFERS} THEN 'received'
         WHEN s.state = 'queued' THEN 'waiting' WHEN s.state IN ('dead', 'removed') THEN s.state
         WHEN r.id IS NULL AND s.state = 'released' AND s.at > 0 AND s.at < ?1 THEN 'forgotten' ELSE 'missing' END
         AS verdict,
    CASE WHEN {_DIFFERS} THEN 'other' ELSE r.state END AS there, r.reason AS why, r.repeats AS repeats,
    CASE WHEN s.at > 0 AND r.at > 0 THEN r.at - s.at END AS took_s
    FROM sent s LEFT JOIN received r ON r.source = s.source AND r.id = s.id
"""  # noqa: S608 - constants
_UNMATCHED = """
CREATE TABLE unmatched AS SELECT r.source, r.id, r.number, r.at, CASE
    WHEN r.at > ?1 OR EXISTS (SELECT 1 FROM newer n WHERE n.source = r.source AND n.id = r.id) THEN 'newer'
    WHEN r.at < ?2 AND row_number() OVER (ORDER BY r.at, r.number) <= ?3 THEN 'older'
    ELSE 'unknown' END AS verdict
    FROM received r LEFT JOIN sent s ON s.source = r.source AND s.id = r.id WHERE s.id IS NULL
"""
"""Statement that judges received events that nobody sent: no more of them are older than the sender's first line than
the sender has deleted lines."""


class EventComparison:
    """Compares the events that were sent with those that were received.

    Args:
        late_s: Time after which an event is late, seconds.
    """

    def __init__(self, *, late_s: float = LATE_S) -> None:
        self._late_s, self._senders, self._is_live = late_s, 0, False
        # An empty name makes a temporary file that SQLite deletes itself. Source: sqlite.org/inmemorydb.html
        self._db = sqlite3.connect("", isolation_level=None)
        for pragma in (f"cache_size = -{_CACHE_KB}", "journal_mode = OFF", "synchronous = OFF", "temp_store = FILE"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add_sent(self, lines: Iterable[LedgerLine]) -> int:
        """Add the list of a sender, in any order. The lists of several senders are added one after another.

        Returns:
            Highest number of its lines.
        """
        self._senders, last = self._senders + 1, 0
        insert = "INSERT OR IGNORE INTO numbers VALUES(?, ?, ?, ?)"

        def follow() -> Iterator[LedgerLine]:
            nonlocal last
            for line in lines:
                last = max(last, line.number)
                if line.number:
                    self._db.execute(insert, (self._senders, line.number, line.taken_at, line.deleted))
                yield line

        self._insert("sent", follow())
        return last

    def add_received(self, lines: Iterable[LedgerLine]) -> None:
        """Add lines of the receiver's list."""
        self._insert("received", lines, _DELIVERED)

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
        deleted, unexplained = self._count_lacking()
        complete_from = self._one(_COMPLETE_FROM) if deleted + unexplained else None
        self._db.execute(_JUDGE, (self._one(_KEPT_FROM) or 0.0,))
        took = self._db.execute(
            "SELECT max(took_s), min(took_s), total(repeats), total(took_s > ?) FROM judged"
            " WHERE verdict IN ('received', 'undelivered')",
            (self._late_s,),
        )
        longest_s, shortest_s, repeated, late = took.fetchone()
        older_s = complete_from + max(0.0, longest_s or 0.0) if complete_from else 0.0
        last_at = self._one("SELECT max(at) FROM sent") or 0.0
        newest = float("inf") if self._is_live or not last_at else last_at + _clock_ahead_s(shortest_s or 0.0)
        self._db.execute(_UNMATCHED, (newest, older_s, deleted + unexplained))
        counts, unmatched = self._count("judged"), self._count("unmatched")
        return Audit(
            totals=AuditCounts(
                **counts,
                sent=sum(counts.values()),
                repeated=int(repeated),
                late=int(late),
                unknown=unmatched.get("unknown", 0),
            ),
            late_s=self._late_s,
            longest_s=longest_s,
            missing=tuple(self._missing()),
            unknown=tuple(self._unknown()),
            newer=unmatched.get("newer", 0),
            older=unmatched.get("older", 0),
            covers_from=complete_from,
            deleted=deleted,
            unexplained=unexplained,
        )

    def _count_lacking(self) -> tuple[int, int]:
        """Return how many lines the senders have deleted to keep their limits, and how many more they lack."""
        deleted = unexplained = 0
        sql = "SELECT count(*), min(number), max(number), max(deleted) FROM numbers GROUP BY list"
        for count, first, last, known in self._db.execute(sql):
            explained = min(last - count, first - 1 if known is None else known)
            deleted, unexplained = deleted + explained, unexplained + last - count - explained
        return deleted, unexplained

    def _insert(self, table: str, lines: Iterable[LedgerLine], more: str = "") -> None:
        rows = (
            (
                line.source,
                line.id,
                self._senders,
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
        self._db.executemany(_INSERT.format(table) + more, rows)
        self._db.execute("COMMIT")

    def _count(self, table: str) -> dict[str, int]:
        return dict(self._db.execute(f"SELECT verdict, count(*) FROM {table} GROUP BY 1"))  # noqa: S608 - constants

    def _missing(self) -> Iterator[AuditFinding]:
        sql = (
            "SELECT source, id, number, at, there, why, state, reason FROM judged WHERE verdict = 'missing'"
            " ORDER BY list, number LIMIT ?"
        )
        for source, event_id, number, at, there, damage, state, reason in self._db.execute(sql, (FINDINGS,)):
            why = f"{state}: {reason}" if reason else f"{state} at the sender"
            if there == "other":
                why = "the receiver has an event with this id but other content"
            elif there == "lost":
                why = f"lost at the receiver: {damage}" if damage else "lost at the receiver"
            yield AuditFinding(source=source, id=event_id, number=number, at=at, why=why)

    def _unknown(self) -> Iterator[AuditFinding]:
        sql = "SELECT source, id, number, at FROM unmatched WHERE verdict = 'unknown' ORDER BY at, number LIMIT ?"
        for source, event_id, number, at in self._db.execute(sql, (FINDINGS,)):
            yield AuditFinding(source=source, id=event_id, number=number, at=at, why="not in the sender's list")

    def _one(self, sql: str) -> Any:
        return self._db.execute(sql).fetchone()[0]


def _clock_ahead_s(shortest_s: float) -> float:
    """Return a lower bound for the lead of the receiver's clock over the sender's, from the shortest delivery time."""
    if shortest_s < 0:
        return shortest_s - 1.0  # events that are no longer in the list may have taken less time
    return max(0.0, shortest_s - ON_THE_WAY_S)


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
    """Yield the lines of a file: JSON lines, or a spool that keeps a ledger.

    Raises:
        InputError: When the file can't be read.
        NotFoundError: When the file is a spool without a ledger.
    """
    try:
        with path.open("rb") as stream:
            is_spool = stream.read(len(_SQLITE)) == _SQLITE
            stream.seek(0)
            if not is_spool:
                yield from read_lines(stream, str(path))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}", hint=f"ls -l {path}") from error
    if is_spool:
        yield from read_spool(path)


def read_spool(path: Path) -> Iterator[LedgerLine]:
    """Yield the lines of a spool's ledger, whether a process uses the spool or not.

    Raises:
        SpoolError: When the spool can't be opened.
        NotFoundError: When the spool has no ledger.
    """
    with Spool(path) as spool:
        ledger = spool.ledger
        if ledger is None:
            raise NotFoundError(
                f"{path} holds no ledger", hint="name the spool of a relay or a receiver; only those hold a ledger"
            )
        yield from read_pages(lambda after: ledger.read(after=after, limit=PAGE))


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

    def read(after: int) -> list[LedgerLine]:
        pause, failures = StopFlag(), 0
        while True:
            try:
                return [parse_line(values) for values in ask(after, PAGE)]
            except DeliveryError as error:
                failures += 1
                if isinstance(error, StatusError) or retry.exhausted(failures):
                    raise
                pause.wait(retry.pause_s(failures))
            except ValueError as error:
                hint = "check that the address is the address of a receiver"
                raise InputError(f"{address} didn't answer with a ledger: {error}", hint=hint) from error

    return read_pages(read)
