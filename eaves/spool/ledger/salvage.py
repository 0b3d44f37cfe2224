"""The ledger of a damaged spool is carried into the new file, beside the entries."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from eaves.spool.faults import UNREADABLE
from eaves.spool.ledger import schema
from eaves.spool.ledger.line import STATES

Rows = Callable[[sqlite3.Connection, str, str, str], Iterator[Sequence[Any]]]
"""Gives every row of a table that can be read: database, table, key, columns."""

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


def carry_ledger(old: sqlite3.Connection, new: sqlite3.Connection, rows: Rows) -> None:
    """Copy every line that can be read, once the entries are copied.

    A line whose event could not be read is `lost`; an event whose line could not be read gets a new one.

    Args:
        old: The damaged file.
        new: The file that replaces it; its entries keep their numbers.
        rows: Reads the damaged file.
    """
    if not _had_ledger(old):
        return
    schema.make(new)
    places = ", ".join("?" * len(_KINDS))
    for row in rows(old, "ledger", "number", _LINE):
        if _is_sound(row):
            new.execute(f"INSERT INTO ledger({_LINE}) VALUES({places})", row)
    schema.add_missing(new)
    with contextlib.suppress(*UNREADABLE):
        totals = old.execute(f"SELECT {', '.join(_EVER)} FROM ledger_totals").fetchone()  # noqa: S608 - constants
        if totals is not None and all(isinstance(total, int) for total in totals):
            new.execute(f"UPDATE ledger_totals SET {', '.join(f'{name} = ?' for name in _EVER)}", totals)  # noqa: S608 - constants


def _had_ledger(old: sqlite3.Connection) -> bool:
    try:
        return schema.exists(old)
    except UNREADABLE:
        return False


def _is_sound(row: Sequence[Any]) -> bool:
    """Whether a line is one that a spool writes."""
    return all(isinstance(value, kind) for value, kind in zip(row, _KINDS, strict=True)) and 0 <= row[6] < len(STATES)
