"""Limits on the size, number and age of what a spool keeps, and deletion of what is beyond them."""

from __future__ import annotations

import logging
import sqlite3
import zlib
from dataclasses import dataclass
from enum import Enum

from eaves.errors import SpoolFullError

DAY_S = 86_400.0
POLL_S = 60.0
"""Interval between two searches for dead letters that are too old, in seconds."""
BATCH = 1_000
"""Maximum number of rows that one commit changes where their number is unbounded, so that deliveries continue
meanwhile.
"""
FUTURE_S = DAY_S
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


class WhenFull(Enum):
    """Policy for a new dead letter when the dead letters' budget is used up."""

    EXPIRE = "expire"
    """Delete the oldest dead letters; each is counted and logged by id."""
    REFUSE = "refuse"
    """Keep the entry queued and pause its lane until an operator retries, drops or purges dead letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolLimits:
    """Limits of one spool.

    Attributes:
        max_bytes: Maximum size of the queued events (data and attributes) in bytes, above which `put` refuses. The
            default, 1 GiB, holds two hours of a camera that sends 140 KB a second.
        max_entries: Maximum number of queued entries, above which `put` refuses.
        dead_max_bytes: Maximum size of the dead letters in bytes. They have a budget of their own, so that events that
            no receiver accepts can't use up the space that good events need.
        dead_max_age_s: Age at which a dead letter expires, in seconds. The default, 30 days, assumes that an operator
            checks them once a month.
        dead_when_full: Policy when `dead_max_bytes` is reached.
        seen_max_entries: Maximum number of ids that `put(once=True)` remembers; each takes about 60 bytes of the file.
            Beyond it the oldest ids are forgotten, and an image that a source finds again after that is sent again,
            under the same id.
    """

    max_bytes: int = 1 << 30
    max_entries: int = 1_000_000
    dead_max_bytes: int = 256 << 20
    dead_max_age_s: float = 30 * DAY_S
    dead_when_full: WhenFull = WhenFull.EXPIRE
    seen_max_entries: int = 1_000_000


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


_REMEMBER = (
    "INSERT INTO seen(key, at, source, options) VALUES(?, ?, ?, ?)"
    " ON CONFLICT(key) DO UPDATE SET at = excluded.at, options = excluded.options WHERE options <> x''"
)
_FORGET = "DELETE FROM seen WHERE key IN (SELECT key FROM seen WHERE at < ? AND source = ? ORDER BY at LIMIT ?)"


def remember(
    db: sqlite3.Connection, source: str, key: bytes, now: float, max_entries: int, options: bytes = b""
) -> bool:
    """Remember an id, and forget the oldest ids beyond the maximum; return False when its event was put before.

    Args:
        db: Connection within a transaction.
        source: Source of the event.
        key: Key of the event, see `seen_key`.
        now: Current time, Unix seconds.
        max_entries: Maximum number of ids of all sources.
        options: Digest of the options that leave the image out; empty for an event that is put.
    """
    if not db.execute(_REMEMBER, (key, moment(db, now), zlib.crc32(source.encode()), options)).rowcount:
        return False
    if db.execute("SELECT seen FROM usage").fetchone()[0] > max_entries:
        surplus = max(1, max_entries // 1_000)
        db.execute("DELETE FROM seen WHERE key IN (SELECT key FROM seen ORDER BY at LIMIT ?)", (surplus,))
    return True


def touch(db: sqlite3.Connection, keys: list[bytes], now: float) -> int:
    """Remember ids for as long as if they had been put now; return how many were remembered before."""
    at = moment(db, now)
    return db.executemany("UPDATE seen SET at = ? WHERE key = ?", [(at, key) for key in keys]).rowcount


def forget(db: sqlite3.Connection, source: str, before: float) -> int:
    """Forget at most `BATCH` ids of a source that were last put or touched before a Unix time; return how many."""
    return db.execute(_FORGET, (before, zlib.crc32(source.encode()), BATCH)).rowcount
