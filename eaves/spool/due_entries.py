"""Queries for the entries of a lane that are due, in delivery order."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from eaves.spool.selection import Read

LONGEST_WAIT_S = 7_200.0
"""Maximum plausible wait until an entry is due, in seconds. An entry with a later due time is due now: no back-off is
longer than an hour, so the clock was set back after the due time was written.
"""
ENTRY = (
    "SELECT seq, lane, attributes, data, attempts, put_at, crc, reason, status, died_at"
    " FROM deliveries JOIN events USING(eid)"
)
"""Query for the columns from which `build_entry` makes an `Entry`."""

_LEFT_OUT = "seq NOT IN (SELECT value FROM json_each(?4))"
_QUEUED = f"SELECT seq FROM deliveries WHERE lane = ?1 AND state = 'queued' AND seq > ?3 AND {_LEFT_OUT}"  # noqa: S608 - constants
# Entries that failed before are selected in the order of their due times, which is close to the order of their numbers.
# Sorting all of them by number in each query would take longer the more there are.
_FAILED = (
    f" UNION ALL SELECT seq FROM ({_QUEUED} AND not_before > 0 AND not_before <= ?2 ORDER BY not_before LIMIT ?5)"  # noqa: S608 - constants
    f" UNION ALL SELECT seq FROM ({_QUEUED} AND not_before > ?2 + ?6 ORDER BY not_before LIMIT ?5)"
)
_DUE = f"SELECT seq FROM ({_QUEUED} AND not_before = 0 ORDER BY seq LIMIT ?5){_FAILED} ORDER BY seq LIMIT ?5"  # noqa: S608 - constants
_DUE_NEWEST = (
    f"SELECT seq FROM ({_QUEUED} AND not_before = 0 ORDER BY seq DESC LIMIT ?5){_FAILED} ORDER BY seq DESC LIMIT ?5"  # noqa: S608 - constants
)
_UNTRIED = f"SELECT seq FROM ({_QUEUED} AND not_before = 0 ORDER BY seq LIMIT ?5)"  # noqa: S608 - constants
_UNTRIED_NEWEST = f"SELECT seq FROM ({_QUEUED} AND not_before = 0 ORDER BY seq DESC LIMIT ?5)"  # noqa: S608 - constants
_NEWEST = (
    "SELECT seq FROM deliveries WHERE lane = ? AND state = 'queued' AND not_before = 0"
    " AND seq NOT IN (SELECT value FROM json_each(?)) ORDER BY seq DESC LIMIT 1"
)

_UNFOUND = (
    "SELECT 1 FROM lanes WHERE lane = ?1 AND queued > 0"
    " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE lane = ?1 AND state = 'queued')"
)
_HIDDEN = f"{_UNFOUND} UNION ALL SELECT 1 FROM ({_DUE}) WHERE NOT EXISTS ({ENTRY} WHERE seq IN ({_DUE}))"  # noqa: S608 - constants


def select_due(
    read: Read, lane: str, *, limit: int, now: float, exclude: Collection[int] = (), after: int = 0
) -> list[Any]:
    """Return the first entries of a lane that are due, as rows of `ENTRY`; see `Spool.peek`."""
    values = (lane, now, after, json.dumps(list(exclude)), limit, LONGEST_WAIT_S)
    return read(f"{ENTRY} WHERE seq IN ({_DUE}) ORDER BY seq", values)


def select_newest(read: Read, lane: str, *, exclude: Collection[int] = ()) -> list[Any]:
    """Return the newest entry of a lane that was never tried, as rows of `ENTRY` (one or none)."""
    return read(f"{ENTRY} WHERE seq = ({_NEWEST})", (lane, json.dumps(list(exclude))))


def choose_batch(
    read: Read,
    lane: str,
    *,
    now: float,
    max_events: int,
    max_bytes: int,
    newest_first: bool = False,
    untried: bool = False,
    after: int = 0,
) -> list[int]:
    """Return the sequence numbers of due entries that fit into one batch, in order; see `Spool.peek_batch`.

    No data is read.
    """
    order = "DESC" if newest_first else "ASC"
    values: tuple[Any, ...] = (lane, now, after, "[]", max_events, LONGEST_WAIT_S)
    if untried:
        due, values = _UNTRIED_NEWEST if newest_first else _UNTRIED, values[:-1]
    else:
        due = _DUE_NEWEST if newest_first else _DUE
    sizes = read(
        f"SELECT seq, size_bytes FROM deliveries JOIN events USING(eid) WHERE seq IN ({due}) ORDER BY seq {order}",  # noqa: S608 - constants
        values,
    )
    chosen: list[int] = []
    total = 0
    for seq, size_bytes in sizes:
        total += size_bytes
        if (chosen or after) and total > max_bytes:
            break
        chosen.append(seq)
    return chosen


def select_batch(read: Read, seqs: Sequence[int], *, newest_first: bool = False) -> list[Any]:
    """Return entries by their sequence numbers as rows of `ENTRY`, oldest or newest first."""
    order = "DESC" if newest_first else "ASC"
    sql = f"{ENTRY} WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq {order}"  # noqa: S608 - constants
    return read(sql, (json.dumps(seqs),))


def is_hiding(read: Read, lane: str, now: float) -> bool:
    """Return whether a damaged index hides entries of a lane, so that queries don't find them.

    An index hides entries when the lane's counter says that entries are queued and none is found, or when the index has
    an entry that the table doesn't have. SQLite doesn't notice when a page of an index has lost its content.
    """
    return bool(read(_HIDDEN, (lane, now, 0, "[]", 1, LONGEST_WAIT_S)))


def read_next_due(read: Read, lane: str, *, exclude: Collection[int] = ()) -> float | None:
    """Return the Unix time in seconds at which the next entry of a lane is due; None when only `exclude` is queued."""
    sql = (
        "SELECT not_before FROM deliveries WHERE lane = ? AND state = 'queued'"
        " AND seq NOT IN (SELECT value FROM json_each(?)) ORDER BY not_before LIMIT 1"
    )
    rows = read(sql, (lane, json.dumps(list(exclude))))
    return float(rows[0][0]) if rows else None
