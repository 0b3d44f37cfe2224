"""Holding of queued entries: they keep their order, and until their release none is sent and no attempt is counted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from eaves.spool.entry import Entry
from eaves.spool.file.schema import FREED
from eaves.spool.queue import Spool
from eaves.spool.retention import BATCH

_HELD = "state = 'queued' AND attempts = 0 AND not_before > 0"
_HOLD = (
    "UPDATE deliveries SET not_before = max(?1, ?2), reason = ?3"
    " WHERE state = 'queued' AND attempts = 0 AND seq IN (SELECT value FROM json_each(?4))"
)
_LET_GO = f"UPDATE deliveries SET not_before = 0, reason = '' WHERE {_HELD} AND seq IN (SELECT value FROM json_each(?))"  # noqa: S608 - constants
_OF_PREFIX = "lane = ?1 AND substr(source, 1, length(?2)) = ?2"
_FREE = (
    "SELECT seq FROM deliveries JOIN events USING(eid) WHERE lane = ?1 AND state = 'queued' AND attempts = 0"  # noqa: S608 - constants
    f" AND not_before = 0 AND seq > ?3 AND {_OF_PREFIX} ORDER BY seq LIMIT ?4"
)
_OF_HELD = f"SELECT seq FROM deliveries JOIN events USING(eid) WHERE {_HELD} AND {_OF_PREFIX} ORDER BY seq LIMIT ?3"  # noqa: S608 - constants
_SOURCES = f"SELECT DISTINCT source FROM deliveries JOIN events USING(eid) WHERE lane = ? AND {_HELD}"  # noqa: S608 - constants


def hold(spool: Spool, entries: Sequence[Entry], until: float, reason: str) -> None:
    """Hold those of the entries that never failed: they aren't due until they are released, and no attempt is counted.

    Args:
        spool: Spool of the entries.
        entries: Entries to hold; those that failed before are left unchanged.
        until: Time of the next check in Unix seconds, shown to people; only `release_held` makes the entries due.
        reason: Reason for holding them.

    Raises:
        SpoolError: When the file can't be written.
    """
    _change(spool, _HOLD, [entry.seq for entry in entries], until, FREED + 1, reason)


def hold_all(spool: Spool, lane: str, prefix: str, until: float, reason: str) -> None:
    """Hold every entry of a lane that never failed and whose event source begins with `prefix`; see `hold`.

    Raises:
        SpoolError: When the file can't be written.
    """
    after = 0
    while seqs := _select(spool, _FREE, (lane, prefix, after, BATCH)):
        _change(spool, _HOLD, seqs, until, FREED + 1, reason)
        after = seqs[-1]


def release_held(spool: Spool, lane: str, prefix: str) -> int:
    """Make the held entries of a lane whose event source begins with `prefix` due again; return how many.

    The reason for holding them is cleared, as if they had never been held.

    Raises:
        SpoolError: When the file can't be written.
    """
    count = 0
    while seqs := _select(spool, _OF_HELD, (lane, prefix, BATCH)):
        _change(spool, _LET_GO, seqs)
        count += len(seqs)
    return count


def first_held(spool: Spool, lane: str, prefix: str) -> Entry | None:
    """Return the first held entry of a lane whose event source begins with `prefix`; None when there is none."""
    seqs = _select(spool, _OF_HELD, (lane, prefix, 1))
    return spool.get_queued(seqs[0]) if seqs else None


def held_sources(spool: Spool, lane: str) -> list[str]:
    """Return the event sources of the held entries of a lane."""
    return [str(source) for (source,) in spool.database().read(_SOURCES, (lane,))]


def _select(spool: Spool, sql: str, values: tuple[Any, ...]) -> list[int]:
    return [seq for (seq,) in spool.database().read(sql, values)]


def _change(spool: Spool, sql: str, seqs: Sequence[int], *values: Any) -> None:
    text = json.dumps(seqs)

    def change(db: sqlite3.Connection) -> None:
        db.execute(sql, (*values, text))

    spool.database().commit(change)
