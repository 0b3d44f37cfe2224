"""Which entries of a lane are due, and in which order."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from eaves.spool.selection import Read

LONGEST_WAIT_S = 7_200.0
"""An entry that isn't due for longer than this is due now: the clock was set back after its back-off was written, as no
pause is longer than an hour."""
ENTRY = (
    "SELECT seq, lane, attributes, data, attempts, put_at, crc, reason, status, died_at"
    " FROM deliveries JOIN events USING(eid)"
)
"""The columns of an entry, from which `Spool` makes one."""

_LEFT_OUT = "seq NOT IN (SELECT value FROM json_each(?4))"
_QUEUED = f"SELECT seq FROM deliveries WHERE lane = ?1 AND state = 'queued' AND seq > ?3 AND {_LEFT_OUT}"  # noqa: S608 - constants
# What failed before comes by the time at which it is due, which is about its order; sorting all of it by number at each
# look would take longer the more there is.
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
    """The first entries of a lane that are due, as rows of `ENTRY`; see `Spool.peek`."""
    values = (lane, now, after, json.dumps(list(exclude)), limit, LONGEST_WAIT_S)
    return read(f"{ENTRY} WHERE seq IN ({_DUE}) ORDER BY seq", values)


def select_newest(read: Read, lane: str, *, exclude: Collection[int] = ()) -> list[Any]:
    """The newest entry of a lane that was never tried, as a row of `ENTRY`."""
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
    """The numbers of due entries that fit together, in order; see `Spool.peek_batch`. Reads no data."""
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
    """Entries by their numbers, as rows of `ENTRY`, the oldest or the newest first."""
    order = "DESC" if newest_first else "ASC"
    sql = f"{ENTRY} WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq {order}"  # noqa: S608 - constants
    return read(sql, (json.dumps(seqs),))


def is_hiding(read: Read, lane: str, now: float) -> bool:
    """Whether a lane's counter says that entries wait and none is found, or its index has one that its table has not.

    SQLite doesn't notice when a page of an index has lost its content.
    """
    return bool(read(_HIDDEN, (lane, now, 0, "[]", 1, LONGEST_WAIT_S)))


def read_next_due(read: Read, lane: str, *, exclude: Collection[int] = ()) -> float | None:
    """When the next entry of a lane is due, Unix seconds; None when nothing but `exclude` is queued."""
    sql = (
        "SELECT not_before FROM deliveries WHERE lane = ? AND state = 'queued'"
        " AND seq NOT IN (SELECT value FROM json_each(?)) ORDER BY not_before LIMIT 1"
    )
    rows = read(sql, (lane, json.dumps(list(exclude))))
    return float(rows[0][0]) if rows else None
