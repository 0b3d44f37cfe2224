"""An operator's changes to a queue: list, retry, redrive, drop, purge.

Each change is made in commits of at most `BATCH` entries, so that deliveries continue meanwhile, and each commit wakes
the deliverers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from functools import partial

from eaves.spool import retention
from eaves.spool.file.schema import DEAD, FREED, QUEUED
from eaves.spool.queue import Spool
from eaves.spool.retention import BATCH
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

        def keep(db: sqlite3.Connection, seqs: list[int] = seqs) -> list[retention.Expired]:
            for seq in seqs:
                retention.make_dead(db, seq, reason, 0, now)
            return retention.keep_budget(db, spool.limits, now)

        retention.log_expired(spool.database().commit(keep))
        made += len(seqs)
    return made


def _change(spool: Spool, selection: Selection, state: str | None, *sql: str) -> int:
    """Run SQL statements on the selected entries in batches; return how many rows the last statement changed in all."""
    if state and selection.state not in (None, state):
        return 0
    count, after = 0, 0
    while seqs := select_seqs(spool.database().read, selection.narrow(state=state, after=after), BATCH):
        after = seqs[-1]
        count += spool.database().commit(partial(_execute, statements=sql, values=(json.dumps(seqs),)))
        spool.wake()
    return count


def _execute(db: sqlite3.Connection, *, statements: Sequence[str], values: tuple[str, ...]) -> int:
    count = 0
    for sql in statements:
        count = db.execute(sql, values).rowcount
    return count
