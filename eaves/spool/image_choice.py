"""Which images an agent chooses for labelling, decided in the commit that releases the image.

Two kinds are chosen. The audit sample is uniform: a hash of an image's source and id decides, so that a repetition is
decided in the same way, and nothing but the bytes of the day limits it. Unsure images are those with the smallest
margins: each predicted class has a budget an hour, of which one hour's worth is saved, and an image is chosen while
fewer images of its class than the budget allows had a smaller margin within the last hour. A camera whose images have
all become unsure thus spends the same budget as before. An image that looks like another unsure one of its source and
class, chosen within the hour, is skipped.

Margins, budgets and hashes are tables of the agent's spool. Whatever is chosen is stored in the same commit, so a kill
neither loses nor doubles it, and no budget begins anew.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from eaves.events import AUDIT, UNSURE, Event

HOUR_S, DAY_S = 3600.0, 86_400
MAX_MARGIN = 0.9
"""Margin from which no model is unsure."""
MAX_MARGINS = 256
"""Number of a class's last margins that an image is compared with."""
MAX_HASHES, NEAR_BITS = 256, 6
"""Number of the last chosen images of its source and class that an image is compared with, and of different bits up to
which two hashes are of near-duplicates."""
TABLES = """\
CREATE TABLE IF NOT EXISTS unsure_margins(label TEXT NOT NULL, margin REAL NOT NULL, at REAL NOT NULL);

CREATE INDEX IF NOT EXISTS margins_by_label ON unsure_margins(label);

CREATE TABLE IF NOT EXISTS chosen_hashes(source TEXT, label TEXT, hash INTEGER, at REAL NOT NULL);

CREATE TABLE IF NOT EXISTS choice_counts(
    label TEXT PRIMARY KEY,
    budget REAL NOT NULL,  -- number of unsure images that may be chosen now
    at REAL NOT NULL,
    day INTEGER NOT NULL,  -- since 1970-01-01, of the counts
    audit INTEGER NOT NULL,
    unsure INTEGER NOT NULL,
    near_duplicates INTEGER NOT NULL,
    over_budget INTEGER NOT NULL,
    over_bytes INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL
)"""
NEAR_DUPLICATE, OVER_BUDGET, OVER_BYTES = "near_duplicates", "over_budget", "over_bytes"
CHOICE_OUTCOMES = (AUDIT, UNSURE, NEAR_DUPLICATE, OVER_BUDGET, OVER_BYTES)
"""What becomes of a candidate, unless images of its class with smaller margins are preferred to it."""
_COUNTS = f"{', '.join(CHOICE_OUTCOMES)}, size_bytes"
READ = f"SELECT label, {_COUNTS} FROM choice_counts WHERE day = ? ORDER BY label"  # noqa: S608 - constants
_FIND = f"SELECT budget, at, day, {_COUNTS} FROM choice_counts WHERE label = ?"  # noqa: S608 - constants
_FORGET = "DELETE FROM choice_counts WHERE day <> ? AND at < ?"
_USED = "SELECT coalesce(sum(size_bytes), 0) FROM choice_counts WHERE day = ?"
_RANK = (
    "SELECT total(margin < ?), coalesce(min(at), ?) FROM (SELECT margin, at FROM unsure_margins"
    " WHERE label = ? AND at BETWEEN ? AND ? ORDER BY rowid DESC LIMIT ?)"
)
_TRIM = (
    "DELETE FROM unsure_margins WHERE label = ? AND rowid <="
    " (SELECT rowid FROM unsure_margins WHERE label = ? ORDER BY rowid DESC LIMIT 1 OFFSET ?)"
)
_EXPIRE = (
    "DELETE FROM unsure_margins WHERE at < ? AND rowid IN (SELECT rowid FROM unsure_margins ORDER BY rowid LIMIT 2)"
)
_HASHES = (
    "SELECT hash FROM chosen_hashes WHERE source = ? AND label = ? AND at BETWEEN ? AND ? ORDER BY rowid DESC LIMIT ?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceLimits:
    """Limits of what an agent chooses; `eaves.platform.ChooseSpec` explains them."""

    audit_percent: float
    images_per_hour: int
    bytes_per_day: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceCounts:
    """Numbers of images of one predicted class that were chosen or left out today (UTC).

    Attributes:
        label: The class; empty for predictions without a label.
        audit: Chosen for the audit sample.
        unsure: Chosen because the model was unsure.
        near_duplicates: Left out because they look like one of their source that was chosen within the hour.
        over_budget: Left out because the budget of the hour was spent.
        over_bytes: Left out because the bytes of the day were spent.
        size_bytes: Size of the chosen images, bytes.
    """

    label: str
    audit: int = 0
    unsure: int = 0
    near_duplicates: int = 0
    over_budget: int = 0
    over_bytes: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An image that may be chosen.

    Attributes:
        image: The image, as it is stored if it is chosen.
        lanes: Lanes that it is stored in.
        why: Value of its attribute `chosen`.
        label: Predicted class; empty for a prediction without one.
        margin: Margin of the prediction, 0 to 1; None for one without.
        limits: Limits of what is chosen.
        hash: Hash of what the image looks like, a signed number of 64 bits; only unsure images need it.
    """

    image: Event
    lanes: tuple[str, ...]
    why: str
    label: str
    margin: float | None
    limits: ChoiceLimits
    hash: int = 0


def choose(db: sqlite3.Connection, candidate: Candidate, now: float) -> bool:
    """Decide within a commit whether a candidate is chosen, and count it."""
    outcome = _judge(db, candidate, now)
    if outcome == UNSURE:
        values = (candidate.image.source, candidate.label, candidate.hash, now)
        db.execute("DELETE FROM chosen_hashes WHERE at NOT BETWEEN ? AND ?", (now - HOUR_S, now))
        db.execute("INSERT INTO chosen_hashes VALUES(?, ?, ?, ?)", values)
    if candidate.why == UNSURE and outcome != NEAR_DUPLICATE:  # a scene that stays would hide all others
        db.execute("INSERT INTO unsure_margins VALUES(?, ?, ?)", (candidate.label, candidate.margin, now))
        db.execute(_TRIM, (candidate.label, candidate.label, MAX_MARGINS))
        db.execute(_EXPIRE, (now - HOUR_S,))
    if outcome:
        _count(db, candidate, outcome, now)
    return outcome == candidate.why


def _judge(db: sqlite3.Connection, candidate: Candidate, now: float) -> str:
    """Return under which of `ChoiceCounts` a candidate falls; empty when others of its class are preferred."""
    limits, label = candidate.limits, candidate.label
    if candidate.why == UNSURE:
        known = db.execute(_HASHES, (candidate.image.source, label, now - HOUR_S, now, MAX_HASHES))
        if any(_count_differences(candidate.hash, one) <= NEAR_BITS for (one,) in known):
            return NEAR_DUPLICATE
        values = (candidate.margin, now, label, now - HOUR_S, now, MAX_MARGINS)
        smaller, since = db.execute(_RANK, values).fetchone()
        if smaller >= max(1.0, limits.images_per_hour * (now - since) / HOUR_S):
            return ""
        if _find_budget(db.execute(_FIND, (label,)).fetchone(), limits, now) < 1:
            return OVER_BUDGET
    (used,) = db.execute(_USED, (now // DAY_S,)).fetchone()
    return OVER_BYTES if used + len(candidate.image.data) > limits.bytes_per_day else candidate.why


def _count(db: sqlite3.Connection, candidate: Candidate, outcome: str, now: float) -> None:
    day, row = int(now // DAY_S), db.execute(_FIND, (candidate.label,)).fetchone()
    if row is None:
        db.execute(_FORGET, (day, now - HOUR_S))
    names = _COUNTS.split(", ")
    counts = dict(zip(names, row[3:], strict=True)) if row and row[2] == day else dict.fromkeys(names, 0)
    counts[outcome] += 1
    counts["size_bytes"] += len(candidate.image.data) if outcome == candidate.why else 0
    budget = _find_budget(row, candidate.limits, now) - (outcome == UNSURE)
    values = (candidate.label, budget, now, day, *counts.values())
    db.execute("INSERT OR REPLACE INTO choice_counts VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)


def _find_budget(row: Any, limits: ChoiceLimits, now: float) -> float:
    """Return the number of unsure images of a class that may be chosen now; a class without a row is new."""
    if row is None:
        return limits.images_per_hour
    budget, at = map(float, row[:2])
    passed_s = now - at if at <= now else HOUR_S  # the clock was set back
    return min(limits.images_per_hour, budget + passed_s / HOUR_S * limits.images_per_hour)


def _count_differences(one: int, other: int) -> int:
    return ((one ^ other) & (1 << 64) - 1).bit_count()
