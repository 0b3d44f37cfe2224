"""Copying of a damaged spool's ledger into the new file, together with the entries."""

from __future__ import annotations

import bisect
import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eaves.spool.file.sqlite_errors import UNREADABLE
from eaves.spool.ledger import schema
from eaves.spool.ledger.line import STATES

Rows = Callable[[sqlite3.Connection, str, str, str], Iterator[Sequence[Any]]]
"""Function that yields every readable row of a table; its arguments are database, table, key and columns."""

_LINE = "number, key, digest, source, id, taken_at, state, changed_at, repeats, deleted, reason, eid"
_KINDS: tuple[type | tuple[type, ...], ...] = (
    int,
    int,
    bytes,
    str,
    str,
    float,
    int,
    float,
    int,
    int,
    str,
    (int, type(None)),
)
_EVER = ("repeats", "conflicts", "deleted")
_MOST = 1 << 48
"""Upper bound of a counter in a ledger; a larger value comes from damage."""
MOST_LOST = 100_000
"""Maximum number of lines in state `lost` that are added in place of lines that can't be read. If more line numbers
seem to be missing, the numbers themselves are damaged."""


def carry_ledger(old: sqlite3.Connection, new: sqlite3.Connection, rows: Rows) -> None:
    """Copy every readable line, after the entries were copied.

    A line whose event could not be read becomes `lost`; an event whose line could not be read gets a new line. Every
    other number that was assigned, and isn't among the lines deleted to keep the limit, gets a line in state `lost`, so
    that a loss is reported even when the line itself is gone.

    Args:
        old: Connection to the damaged file.
        new: Connection to the file that replaces it, in which entries keep their numbers.
        rows: Function that reads the damaged file.
    """
    if not _had_ledger(old):
        return
    schema.make(new)
    with contextlib.suppress(*UNREADABLE):
        lanes = [lane for (lane,) in old.execute("SELECT lane FROM ledger_ignored") if isinstance(lane, str)]
        schema.ignore(new, lanes)
    places = ", ".join("?" * len(_KINDS))
    for row in rows(old, "ledger", "number", _LINE):
        if _is_sound(row):
            new.execute(f"INSERT INTO ledger({_LINE}) VALUES({places})", row)
    known = _read_counts(old)
    gaps = Gaps(_find_gaps(new, known.last))
    deleted = known.deleted if known.deleted is not None and known.deleted <= gaps.count else 0
    gaps.skip(deleted)
    schema.add_missing(new, lambda eid: gaps.take(_number_before(new, eid)))
    surplus = max(0, gaps.count - MOST_LOST)
    gaps.skip(surplus)
    for number in gaps:
        schema.insert_lost(new, number)
    schema.set_last(new, known.last)
    sql = f"UPDATE ledger_totals SET {', '.join(f'{name} = ?' for name in _EVER)}"  # noqa: S608 - constants
    new.execute(sql, (*known.ever, deleted + surplus))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """Counters of a damaged file's ledger.

    Attributes:
        last: Highest line number that was assigned; 0 when it is unknown.
        ever: Numbers of repeated and of conflicting events since the ledger was created.
        deleted: Number of lines that were deleted to keep the limit; None when it isn't certain.
    """

    last: int
    ever: tuple[int, int]
    deleted: int | None


class Gaps:
    """Line numbers that were assigned and that no copied line has, as ranges of numbers.

    Args:
        ranges: First and last number of each range, ascending.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._ranges = list(ranges)

    @property
    def count(self) -> int:
        """Count of the line numbers in all ranges."""
        return sum(last - first + 1 for first, last in self._ranges)

    def __iter__(self) -> Iterator[int]:
        for first, last in self._ranges:
            yield from range(first, last + 1)

    def skip(self, count: int) -> None:
        """Remove the `count` lowest of the missing line numbers, or all of them when there are fewer."""
        left, kept = count, list[tuple[int, int]]()
        for first, last in self._ranges:
            out = min(left, last - first + 1)
            left -= out
            if first + out <= last:
                kept.append((first + out, last))
        self._ranges = kept

    def take(self, after: int) -> int | None:
        """Remove and return the lowest number above `after`; None when there is none."""
        place = bisect.bisect_left(self._ranges, after + 1, key=lambda one: one[1])
        if place == len(self._ranges):
            return None
        first, last = self._ranges[place]
        number = max(first, after + 1)
        parts = ((first, number - 1), (number + 1, last))
        self._ranges[place : place + 1] = [part for part in parts if part[0] <= part[1]]
        return number


def _read_counts(old: sqlite3.Connection) -> _Counts:
    """Read the ledger's counters from a damaged file.

    The number of deleted lines is certain only when the counters add up to the highest line number.
    """
    names = (*STATES, *_EVER)
    totals = _read_numbers(old, f"SELECT {', '.join(names)} FROM ledger_totals", len(names))  # noqa: S608 - constants
    sequence = _read_numbers(old, "SELECT seq FROM sqlite_sequence WHERE name = 'ledger'", 1)
    given = [one for one in (sequence[0] if sequence else None, _sum(totals)) if one is not None]
    is_sure = totals is not None and len(set(given)) == 1
    return _Counts(
        last=max(given, default=0),
        ever=(totals[-3], totals[-2]) if totals else (0, 0),
        deleted=totals[-1] if totals and is_sure else None,
    )


def _sum(totals: Sequence[int] | None) -> int | None:
    """Return how many ledger lines were ever created, from the counters of existing and of deleted lines."""
    return None if totals is None else sum(totals[: len(STATES)]) + totals[-1]


def _read_numbers(old: sqlite3.Connection, sql: str, count: int) -> Sequence[int] | None:
    """Return a row of counters; None when it can't be read or holds values that aren't plausible counters."""
    with contextlib.suppress(*UNREADABLE):
        row = old.execute(sql).fetchone()
        if row and len(row) == count and all(isinstance(one, int) and 0 <= one < _MOST for one in row):
            return tuple(row)
    return None


def _find_gaps(new: sqlite3.Connection, last: int) -> Iterator[tuple[int, int]]:
    before = 0
    for (number,) in new.execute("SELECT number FROM ledger ORDER BY number"):
        if number > before + 1:
            yield before + 1, number - 1
        before = number
    if last > before:
        yield before + 1, last


def _number_before(new: sqlite3.Connection, eid: int) -> int:
    """Return the ledger line number of the event put before the one with row id `eid`; 0 without one."""
    sql = "SELECT number FROM ledger WHERE eid < ? ORDER BY eid DESC LIMIT 1"
    row = new.execute(sql, (eid,)).fetchone()
    return row[0] if row else 0


def _had_ledger(old: sqlite3.Connection) -> bool:
    try:
        return schema.exists(old)
    except UNREADABLE:
        return False


def _is_sound(row: Sequence[Any]) -> bool:
    """Return whether a ledger line's row has values that a spool can have written."""
    return all(isinstance(value, kind) for value, kind in zip(row, _KINDS, strict=True)) and 0 <= row[6] < len(STATES)
