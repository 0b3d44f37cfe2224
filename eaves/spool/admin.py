"""Changes to many entries of a queue: an operator's retry, redrive, drop and purge.

Each change is made in commits of at most `BATCH` entries, so that deliveries continue meanwhile, and wakes the
deliverers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from eaves.spool import limits
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

SITE_AT = len("/eaves/") + 1
"""Position of the site's name in a source, as SQL counts."""


def list_entries(spool: Spool, selection: Selection, *, limit: int = 100) -> list[Stored]:
    """Return the selected entries, queued and dead, without their data, in the order they were put."""
    return list_stored(spool.database().read, selection, limit)


def measure(spool: Spool, selection: Selection) -> tuple[int, int]:
    """Return the number of selected entries, and the size of their data and attributes in bytes."""
    where, values = selection.where()
    sql = f"SELECT count(*), total(size_bytes) FROM deliveries JOIN events USING(eid) WHERE {where}"  # noqa: S608 - bound
    (row,) = spool.database().read(sql, values)
    return int(row[0]), int(row[1])


def measure_sites(spool: Spool, lane: str) -> dict[str, tuple[int, int]]:
    """Return number and bytes of a lane's queued entries by site, for sources of the form `/eaves/SITE/...`."""
    site = f"substr(source, {SITE_AT}, instr(substr(source, {SITE_AT}), '/') - 1)"
    sql = (
        f"SELECT {site}, count(*), total(size_bytes) FROM deliveries JOIN events USING(eid)"  # noqa: S608 - constants
        " WHERE lane = ? AND state = 'queued' GROUP BY 1"
    )
    return {name: (count, int(size_bytes)) for name, count, size_bytes in spool.database().read(sql, (lane,))}


def redrive(spool: Spool, selection: Selection) -> int:
    """Queue the selected dead letters again and reset their attempts; return how many."""
    return _change(spool, selection, DEAD, _REDRIVE)


def retry_now(spool: Spool, selection: Selection) -> int:
    """Make the selected queued entries due now; return how many."""
    return _change(spool, selection, QUEUED, _RETRY)


def drop(spool: Spool, selection: Selection) -> int:
    """Delete the selected entries permanently, queued ones and dead letters; return how many."""
    return _change(spool, selection, None, _MAKE_DEAD, _DROP)


def dead_letter_lane(spool: Spool, lane: str, reason: str, *, outside: str | None = None) -> int:
    """Make dead letters of the queued entries of a lane that nothing delivers at present; return how many.

    Args:
        spool: Spool of the entries.
        lane: Name of the lane.
        reason: Reason of the dead letters.
        outside: Beginning of the sources of entries that stay queued; None for none.
    """
    made, after = 0, 0
    now, chosen = spool.clock.now(), Selection(lane=lane, state=QUEUED, outside=outside)
    while seqs := select_seqs(spool.database().read, replace(chosen, after=after), BATCH):
        after = seqs[-1]

        def keep(db: sqlite3.Connection, seqs: list[int] = seqs) -> list[limits.Expired]:
            for seq in seqs:
                limits.make_dead(db, seq, reason, 0, now)
            return limits.keep_budget(db, spool.limits, now)

        limits.log_expired(spool.database().commit(keep))
        made += len(seqs)
    return made


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


def _execute(db: sqlite3.Connection, *, statements: Sequence[str], values: Sequence[Any]) -> int:
    count = 0
    for sql in statements:
        count = db.execute(sql, values).rowcount
    return count
