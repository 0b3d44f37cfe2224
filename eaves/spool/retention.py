"""Deletion of dead letters beyond their budget and of remembered ids beyond their maximum number."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass

from eaves.errors import SpoolFullError
from eaves.spool.limits import SpoolLimits, WhenFull

LOOK_S = 60.0
"""Interval between two searches for dead letters that are too old, in seconds."""
BATCH = 1_000
"""Maximum number of rows that one commit changes where their number is unbounded, so that deliveries continue
meanwhile.
"""
FUTURE_S = 86_400.0
"""Maximum plausible distance of a dead letter's date into the future, seconds. A later date is wrong, because the clock
was set back after the date was written."""
EARLIEST = 1_577_836_800.0
"""2020-01-01 in Unix seconds. An earlier date was written before the clock was set, on a machine without a
battery-backed clock.
"""
ANY_OLD = (
    "SELECT 1 FROM deliveries WHERE state = 'dead' AND died_at < ?"
    " UNION ALL SELECT 1 FROM deliveries WHERE state = 'dead' AND died_at > ? LIMIT 1"
)
# One statement with OR would read every dead letter, because SQLite uses an index for one range only.
_REDATE_LATE = "UPDATE deliveries SET died_at = ? WHERE state = 'dead' AND died_at > ?"
_REDATE_EARLY = "UPDATE deliveries SET died_at = ? WHERE state = 'dead' AND died_at < ?"

_OLDEST = (
    "SELECT seq, source, id, reason, died_at FROM deliveries JOIN events USING(eid) WHERE state = 'dead'"
    " ORDER BY died_at, seq LIMIT 1"
)
_DIE = (
    "UPDATE deliveries SET state = 'dead', attempts = attempts + 1, reason = ?, status = ?, died_at = ?"
    " WHERE seq = ? AND state = 'queued'"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """A dead letter that was deleted.

    Attributes:
        source: Source of the event.
        event_id: Id of the event.
        reason: Reason why the event became a dead letter.
        why: Reason why the dead letter was deleted.
    """

    source: str
    event_id: str
    reason: str
    why: str


def make_dead(db: sqlite3.Connection, seq: int, reason: str, status: int, now: float) -> bool:
    """Make a queued entry a dead letter; return False when no queued entry has that sequence number."""
    return db.execute(_DIE, (reason, status, now, seq)).rowcount > 0


def old(limits: SpoolLimits, now: float) -> tuple[float, float]:
    """Return two limits of a dead letter's date, Unix seconds.

    A dead letter with a date before the first has expired; a date after the second is wrong.
    """
    return now - limits.dead_max_age_s, now + FUTURE_S


def keep_budget(db: sqlite3.Connection, limits: SpoolLimits, now: float, *, newest: int | None = None) -> list[Expired]:
    """Delete the oldest dead letters until the rest are within their budget, at most `BATCH` of them.

    Args:
        db: Connection within the transaction that made the dead letters.
        limits: Limits with the budget.
        now: Current time, Unix seconds.
        newest: Sequence number of the dead letter that was just made. It is kept even when it alone is larger than the
            budget, so that the last failure can always be inspected.

    Returns:
        The dead letters that were deleted.

    Raises:
        SpoolFullError: When the policy is to refuse and `newest` doesn't fit; the caller must roll back the
            transaction.
    """
    expired: list[Expired] = []
    # The true age of these dead letters is unknown, so it counts from now.
    db.execute(_REDATE_LATE, (now, now + FUTURE_S))
    db.execute(_REDATE_EARLY, (now, min(EARLIEST, now)))
    while len(expired) < BATCH:
        row = db.execute(_OLDEST).fetchone()
        if row is None:
            break
        seq, source, event_id, reason, died_at = row
        held = db.execute("SELECT dead_bytes FROM usage").fetchone()[0]
        if died_at < now - limits.dead_max_age_s:
            why = f"older than {limits.dead_max_age_s / 86_400:g} days"
        elif held <= limits.dead_max_bytes:
            break
        elif limits.dead_when_full is WhenFull.REFUSE:
            if newest is None:
                break
            raise SpoolFullError(
                f"the limit for dead letters is reached: {held} of {limits.dead_max_bytes} bytes",
                hint="retry, drop or purge dead letters, or raise the limit",
            )
        elif seq == newest:
            break
        else:
            why = f"more than {limits.dead_max_bytes} bytes of dead letters"
        db.execute("DELETE FROM deliveries WHERE seq = ?", (seq,))
        expired.append(Expired(source=source, event_id=event_id, reason=reason, why=why))
    if expired:
        db.execute("UPDATE usage SET expired = expired + ?", (len(expired),))
    return expired


def log_expired(expired: list[Expired]) -> None:
    """Log each dead letter that was deleted."""
    for letter in expired:
        _log.warning(
            "dead letter %s of %s was deleted (%s); the reason why it was not delivered: %s",
            letter.event_id[:64],
            letter.source[:128],
            letter.why,
            letter.reason,
        )


def moment(db: sqlite3.Connection, now: float) -> int:
    """Return the time at which an id is remembered, Unix seconds: never before any other remembered id.

    After the clock was set back, an earlier time would make it the first id to be forgotten.
    """
    return max(int(now), int(db.execute("SELECT coalesce(max(at), 0) FROM seen").fetchone()[0]))


def remember(db: sqlite3.Connection, key: bytes, now: float, max_entries: int) -> bool:
    """Remember an id, and forget the oldest ids beyond the maximum; return False when the id was remembered already."""
    if not db.execute("INSERT OR IGNORE INTO seen VALUES(?, ?)", (key, moment(db, now))).rowcount:
        return False
    if db.execute("SELECT seen FROM usage").fetchone()[0] > max_entries:
        surplus = max(1, max_entries // 1_000)
        db.execute("DELETE FROM seen WHERE key IN (SELECT key FROM seen ORDER BY at LIMIT ?)", (surplus,))
    return True


def touch(db: sqlite3.Connection, keys: list[bytes], now: float) -> int:
    """Remember ids for as long as if they had been put now; return how many were remembered before."""
    at = moment(db, now)
    return db.executemany("UPDATE seen SET at = ? WHERE key = ?", [(at, key) for key in keys]).rowcount


def forget(db: sqlite3.Connection, before: float) -> int:
    """Forget at most `BATCH` ids that were last put or touched before a time in Unix seconds; return how many."""
    sql = "DELETE FROM seen WHERE key IN (SELECT key FROM seen WHERE at < ? ORDER BY at LIMIT ?)"
    return db.execute(sql, (before, BATCH)).rowcount


INDEX_LOOK_S = 600.0
"""Interval between two checks of a lane that seems empty for entries that a damaged index hides, in seconds."""
