"""Changes to many entries of a queue: an operator's retry, redrive, drop and purge, and holding of entries.

Each change is made in commits of at most `BATCH` entries, so that deliveries continue meanwhile, and an operator's
commits wake the deliverers. Held entries keep their order, and until their release none is sent and no attempt is
counted.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any

from eaves.spool import limits
from eaves.spool.entry import Entry
from eaves.spool.limits import BATCH
from eaves.spool.queue import Spool
from eaves.spool.schema import DEAD, FREED, QUEUED
from eaves.spool.selection import Selection, Stored, list_stored, select_seqs

_REDRIVE = (
    "UPDATE deliveries SET state = 'queued', attempts = 0, not_before = 0"
    " WHERE state = 'dead' AND seq IN (SELECT value FROM json_each(?))"
)
_RETRY = (
    f"UPDATE deliveries SET not_before = CASE WHEN attempts > 0 THEN {FREED} ELSE 0.0 END"  # noqa: S608 - constants
    " WHERE state = 'queued' AND seq IN (SELECT value FROM json_each(?))"
)
_MAKE_DEAD = "UPDATE deliveries SET state = 'dead' WHERE state = 'queued' AND seq IN (SELECT value FROM json_each(?))"
_DROP = "DELETE FROM deliveries WHERE seq IN (SELECT value FROM json_each(?))"
"""Statement that deletes entries. The ledger records a dead letter that is deleted as `removed`, and a queued entry
that is deleted as `released`.
"""
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


def list_entries(spool: Spool, selection: Selection, *, limit: int = 100) -> list[Stored]:
    """Return the selected entries, queued and dead, without their data, in the order they were put."""
    return list_stored(spool.database().read, selection, limit)


def measure(spool: Spool, selection: Selection) -> tuple[int, int]:
    """Return the number of selected entries, and the size of their data and attributes in bytes."""
    where, values = selection.where()
    sql = f"SELECT count(*), total(size_bytes) FROM deliveries JOIN events USING(eid) WHERE {where}"  # noqa: S608 - bound
    (row,) = spool.database().read(sql, values)
    return int(row[0]), int(row[1])


def redrive(spool: Spool, selection: Selection) -> int:
    """Queue the selected dead letters again and reset their attempts; return how many."""
    return _change(spool, selection, DEAD, _REDRIVE)


def retry_now(spool: Spool, selection: Selection) -> int:
    """Make the selected queued entries due now; return how many."""
    return _change(spool, selection, QUEUED, _RETRY)


def drop(spool: Spool, selection: Selection) -> int:
    """Delete the selected entries permanently, queued ones and dead letters; return how many."""
    return _change(spool, selection, None, _MAKE_DEAD, _DROP)


def dead_letter_lane(spool: Spool, lane: str, reason: str) -> int:
    """Make dead letters of all queued entries of a lane that has no deliverer; return how many."""
    made, after = 0, 0
    now = spool.clock.now()
    while seqs := select_seqs(spool.database().read, Selection(lane=lane, state=QUEUED, after=after), BATCH):
        after = seqs[-1]

        def keep(db: sqlite3.Connection, seqs: list[int] = seqs) -> list[limits.Expired]:
            for seq in seqs:
                limits.make_dead(db, seq, reason, 0, now)
            return limits.keep_budget(db, spool.limits, now)

        limits.log_expired(spool.database().commit(keep))
        made += len(seqs)
    return made


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
    _run(spool, _HOLD, [entry.seq for entry in entries], until, FREED + 1, reason)


def hold_all(spool: Spool, lane: str, prefix: str, until: float, reason: str) -> None:
    """Hold every entry of a lane that never failed and whose event source begins with `prefix`; see `hold`.

    Raises:
        SpoolError: When the file can't be written.
    """
    after = 0
    while seqs := _select(spool, _FREE, (lane, prefix, after, BATCH)):
        _run(spool, _HOLD, seqs, until, FREED + 1, reason)
        after = seqs[-1]


def release_held(spool: Spool, lane: str, prefix: str) -> int:
    """Make the held entries of a lane whose event source begins with `prefix` due again; return how many.

    The reason for holding them is cleared, as if they had never been held.

    Raises:
        SpoolError: When the file can't be written.
    """
    count = 0
    while seqs := _select(spool, _OF_HELD, (lane, prefix, BATCH)):
        _run(spool, _LET_GO, seqs)
        count += len(seqs)
    return count


def first_held(spool: Spool, lane: str, prefix: str) -> Entry | None:
    """Return the first held entry of a lane whose event source begins with `prefix`; None when there is none."""
    seqs = _select(spool, _OF_HELD, (lane, prefix, 1))
    return spool.get_queued(seqs[0]) if seqs else None


def held_sources(spool: Spool, lane: str) -> list[str]:
    """Return the event sources of the held entries of a lane."""
    return [str(source) for (source,) in spool.database().read(_SOURCES, (lane,))]


def _change(spool: Spool, selection: Selection, state: str | None, *statements: str) -> int:
    """Run SQL statements on the selected entries in batches; return how many rows the last statement changed in all."""
    if state and selection.state not in (None, state):
        return 0
    count, after = 0, 0
    while seqs := select_seqs(spool.database().read, selection.narrow(state=state, after=after), BATCH):
        after = seqs[-1]
        count += spool.database().commit(partial(_execute, statements=statements, values=(json.dumps(seqs),)))
        spool.wake()
    return count


def _run(spool: Spool, sql: str, seqs: Sequence[int], *values: Any) -> None:
    spool.database().commit(partial(_execute, statements=(sql,), values=(*values, json.dumps(seqs))))


def _execute(db: sqlite3.Connection, *, statements: Sequence[str], values: Sequence[Any]) -> int:
    count = 0
    for sql in statements:
        count = db.execute(sql, values).rowcount
    return count


def _select(spool: Spool, sql: str, values: tuple[Any, ...]) -> list[int]:
    return [seq for (seq,) in spool.database().read(sql, values)]
