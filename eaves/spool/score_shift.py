"""Whether good images still score as those that a model was calibrated on, by the p-values of a function's replies.

The spool of an agent counts p-values of each model and source in bins, in the commit that releases the image. Only
those above 0.2 count: a few real defects have small ones. After a window of 500, two samples are compared
(Kolmogorov-Smirnov, on the bins): the window and a reference. The reference is what the calibration leads to expect;
it weighs as many images as there were independent groups of them, because a p-value is no more exact than its
calibration. Where that is less than a window, as of 60 good images, the first window without a shift is added to it.

Simulated with normal scores, 1.0 to 1.2 of 1,000 windows of an unchanged camera show a shift, from calibrations of 20,
60, 200 and 1,000 images; it may be the same camera again, as its calibration stays. Of 1,000 cameras whose mean moves
by half a standard deviation after two windows, 93, 95, 97 and 99 % show it in the next window, and all but 2 in eight;
by a quarter, 23 to 26 % in the next and 62 to 77 % within eight. A camera that differs by half from the beginning has
only the calibration against it: 1.5, 9, 54 and 97 % of first windows.

Not seen: a change so large that no p-value is above 0.2, when the images themselves are anomalous, and replies to a
broker. Images that depend on each other, such as many of one part, are taken for a shift too often.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from eaves.errors import EventError
from eaves.events import IMAGE_INSPECTED, MODEL_SHIFTED, Event, event_id

WINDOW, BINS = 500, 8
LIMIT = 1.75
"""Largest distance that chance leads to, in units of sqrt(1/m + 1/n) for samples of m and n; 1.86 without bins."""
MAX_WINDOWS = 64
"""Number of pairs of a model and a source that are watched; those without a reply for the longest time are dropped."""
TABLE = """\
CREATE TABLE IF NOT EXISTS score_windows(
    artifact TEXT NOT NULL,
    source TEXT NOT NULL,  -- of the images
    reference TEXT NOT NULL,  -- JSON: number in each bin
    counts TEXT NOT NULL,  -- JSON: likewise, of the current window
    began_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    shifted_at REAL,
    PRIMARY KEY(artifact, source)
)"""
READ = (
    "SELECT artifact, source, (SELECT sum(value) FROM json_each(counts)), shifted_at FROM score_windows"
    " ORDER BY source, artifact"
)
_FIND = "SELECT reference, counts, began_at, shifted_at FROM score_windows WHERE artifact = ? AND source = ?"
_FORGET = "DELETE FROM score_windows WHERE source = ? AND updated_at < ?"
_TRIM = (
    "DELETE FROM score_windows WHERE rowid NOT IN (SELECT rowid FROM score_windows ORDER BY updated_at DESC LIMIT ?)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreWindow:
    """A model and a source of images that are watched, and since when their scores have shifted.

    Attributes:
        artifact: Digest of the model's artifact, `sha256:HEX`.
        source: Source of the images, as in their events.
        counted: Number of p-values above 0.2 in the current window.
        since: When the first window with a shift ended, Unix seconds; None since one without.
    """

    artifact: str
    source: str
    counted: int = 0
    since: float | None = None

    @property
    def reason(self) -> str:
        """What the shift means, and what to do; empty without one."""
        if self.since is None:
            return ""
        return (
            f"images of {self.source.rpartition('/')[2]} no longer score as the model's good images: "
            "check light, lens and position, or train again with new images"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The score of one reply, as the bin that it falls into.

    Attributes:
        reply: The reply.
        artifact: Digest of the model's artifact.
        source: Source of the image.
        place: Index of the bin.
        reference: Number of independent values in each bin that the model's calibration leads to expect.
        extensions: Further extension attributes of an event about a shift.
    """

    reply: Event
    artifact: str
    source: str
    place: int
    reference: Sequence[float]
    extensions: Mapping[str, str]


def read_sample(reply: Event, extensions: Mapping[str, str]) -> Sample | None:
    """Return what a reply adds to a window; None for a reply without a p-value, or with one of at most 0.2."""
    if reply.type != IMAGE_INSPECTED:
        return None
    try:
        data = reply.json()
        images, groups = int(data["calibration"]["images"]), int(data["calibration"]["groups"])
        # P-values are 1 to images + 1, divided by the latter: as many as equally likely places between the scores.
        left_out = (images + 1) // 5
        rank, ranks = round(data["p_value"] * (images + 1)) - 1 - left_out, images + 1 - left_out
        begins = [-(-ranks * one // BINS) for one in range(BINS + 1)]
        weight, artifact = groups / images, str(data["artifact"]).encode()[:128].decode()
    except (EventError, LookupError, TypeError, ValueError, ArithmeticError):  # a handler.py makes what it wants
        return None
    if not 0 <= rank < ranks or weight <= 0:
        return None
    return Sample(
        reply=reply,
        artifact=artifact,
        source=reply.extensions.get("causesource", ""),
        place=rank * BINS // ranks,
        reference=[(end - begin) * weight for begin, end in pairwise(begins)],
        extensions=extensions,
    )


def count(db: sqlite3.Connection, sample: Sample | None, now: float) -> Event | None:
    """Count a sample within a commit, and return the event to store when its window is the first one with a shift."""
    if sample is None:
        return None
    row = db.execute(_FIND, (sample.artifact, sample.source)).fetchone()
    reference, counts = map(json.loads, row[:2]) if row else ([*sample.reference], [0] * BINS)
    began_at, shifted_at = row[2:] if row else (now, None)
    counts[sample.place] += 1
    shift = None
    if sum(counts) >= WINDOW:
        db.execute(_FORGET, (sample.source, began_at))  # models that were replaced
        distance, limit = compare(counts, reference)
        if distance <= limit:
            shifted_at = None
            if sum(reference) < WINDOW:
                reference = [sum(pair) for pair in zip(reference, counts, strict=True)]
        elif shifted_at is None:
            shifted_at, shift = now, _build_shift(sample, counts, reference, distance, limit)
        counts, began_at = [0] * BINS, now
    values = (sample.artifact, sample.source, json.dumps(reference), json.dumps(counts), began_at, now, shifted_at)
    db.execute("INSERT OR REPLACE INTO score_windows VALUES(?, ?, ?, ?, ?, ?, ?)", values)
    if not row:
        db.execute(_TRIM, (MAX_WINDOWS,))
    return shift


def compare(counts: Sequence[float], reference: Sequence[float]) -> tuple[float, float]:
    """Return the largest distance of two cumulative distributions over bins, and the limit above which it is a shift.

    Source: Smirnov, Table for estimating the goodness of fit of empirical distributions, 1948 (the unit of `LIMIT`).
    """
    total, size = sum(counts), sum(reference)
    pairs = zip(accumulate(counts), accumulate(reference), strict=True)
    return max(abs(one / total - other / size) for one, other in pairs), LIMIT * math.sqrt(1 / total + 1 / size)


def _build_shift(
    sample: Sample, counts: Sequence[float], reference: Sequence[float], distance: float, limit: float
) -> Event:
    reply = sample.reply
    model, version = (reply.extensions.get(name, "") for name in ("model", "modelversion"))
    about = {
        "model": model,
        "version": version,
        "artifact": sample.artifact,
        "source": sample.source,
        "distance": round(distance, 4),
        "limit": round(limit, 4),
        "counts": counts,
        "expected": [round(one * WINDOW / sum(reference), 1) for one in reference],
    }
    return Event(
        id=event_id(reply.source, f"{reply.id}\0shifted"),
        source=reply.source,
        type=MODEL_SHIFTED,
        data=json.dumps(about, ensure_ascii=False).encode(),
        datacontenttype="application/json",
        subject=model,
        time=reply.time,
        extensions={"causesource": sample.source, "model": model, "modelversion": version, **sample.extensions},
    )
