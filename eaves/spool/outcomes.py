"""Outcomes of requests to a function by its revision, counted in the commit that changes the entry of the request.

A rollout compares revisions by them. A function's own counters are lost whenever its pods scale to zero.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

KINDS = ANSWERED, FAILED, REFUSED = "answered", "failed", "refused"
"""Outcomes: a prediction; a fault of the revision (5xx, or a reply that can't be used); a refusal for good (4xx)."""
MAX_REVISIONS = 16
"""Number of revisions whose outcomes are kept; those that were counted first are dropped before."""
TABLES = """\
CREATE TABLE IF NOT EXISTS outcomes(
    revision TEXT PRIMARY KEY,
    answered INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS identity AS SELECT lower(hex(randomblob(8))) AS id"""
"""Tables that a file without them gets when it is opened. The identity tells a file from one that replaces it."""
READ = "SELECT id, revision, answered, failed, refused FROM identity LEFT JOIN outcomes"
_TRIM = "DELETE FROM outcomes WHERE rowid NOT IN (SELECT rowid FROM outcomes ORDER BY rowid DESC LIMIT ?)"

Outcome = tuple[str, str]
"""Revision, and the outcome of one request to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionOutcomes:
    """Numbers of requests to one revision of a function by their outcome, since the file was created."""

    revision: str
    answered: int = 0
    failed: int = 0
    refused: int = 0


def count(db: sqlite3.Connection, outcome: Outcome | None) -> None:
    """Count an outcome, within a commit; None counts nothing."""
    if outcome is None:
        return
    revision, kind = outcome
    if db.execute("INSERT OR IGNORE INTO outcomes(revision) VALUES(?)", (revision,)).rowcount:
        db.execute(_TRIM, (MAX_REVISIONS,))
    db.execute(f"UPDATE outcomes SET {kind} = {kind} + 1 WHERE revision = ?", (revision,))  # noqa: S608 - constants
