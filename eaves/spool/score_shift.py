"""Whether images still score as those that a model was judged on, by the ranks in a function's replies.

A reply says where the image's score lies among those of images that the model wasn't fitted to: for an anomaly its
p-value, of which only those above 0.2 count, because a few real defects have small ones; for a label the rank among the
held-out images that the model gives the same label. So another mix of classes is hardly a shift by itself, as each
label has a reference of its own. The spool of an agent counts ranks in eight bins by model, source and label, in the
commit that releases the image.

After a window of 500 images, its bins are compared with a reference (Kolmogorov-Smirnov): those of each label, and all
together, in the window's mix of labels. The limit is higher for more labels (Bonferroni). The reference is what the
calibration leads to expect; it weighs as many images as there were independent groups of them, because a rank is no
more exact than its calibration. Where a label's reference is less than a window, as of 60 good images, its images of
windows without a shift are added to it.

A source that differs from the beginning, such as a camera of another kind, has shifted until the model is trained with
its images. A later window is one more event if it also differs from the window of the last event.

Simulated with normal scores, 1.0 to 1.4 of 1,000 windows of an unchanged camera show a shift with one label, from
calibrations of 20 to 1,000 images, and 0.3 to 0.5 with 2, 5 and 20 labels, in whatever mix; it may be the same camera
again, as its calibration stays. Of 1,000 cameras whose mean moves by half a standard deviation, more than 93 % show it
in the next window, and by a quarter, with one label, 23 to 26 %. A camera that differs by half from the beginning has
only the calibration against it: 9, 54 and 97 % of first windows with 60, 200 and 1,000 images.

Photos of five kinds of flowers, a head that is right on 86 %, one window of the same camera before, and 60 to 1,000
held-out images: blur (accuracy 78 %) shows in the next window always, other colours with some blur (82 %) in 50 to
70 %, half of the light, which costs no accuracy, in 0 to 10 %; a kind that the head doesn't know in 2 to 5 % where it
is a tenth of the images, in 32 to 59 % as a fifth, in 82 to 90 % as half. Mixes from Dirichlet(5) show in 0 to 10 %
of windows, and from Dirichlet(1), where one kind may be all, in up to 55 %: such a head is less sure of what is rare.

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
from typing import Any

from eaves.errors import EventError
from eaves.events import IMAGE_CLASSIFIED, IMAGE_INSPECTED, MODEL_SHIFTED, Event, event_id

WINDOW, BINS = 500, 8
LIMIT = 1.75
"""Largest distance that chance leads to, in units of sqrt(1/m + 1/n) for samples of m and n; 1.86 without bins."""
MAX_WINDOWS = 64
"""Number of pairs of a model and a source that are watched; those without a reply for the longest time are dropped."""
MAX_LABELS = 100
"""Number of labels of a model and a source that are watched; replies with further labels don't count."""
MAX_BYTES = 1_024
"""Maximum size of a label or of an artifact's digest, bytes."""
MAX_NAMED = 3
"""Number of labels up to which a sentence names those that have shifted; more are the camera's matter."""
SHOWN = 9
"""Number of a window's images that an event names: those with the lowest ranks."""
TABLE = """\
DROP TABLE IF EXISTS score_windows;

CREATE TABLE IF NOT EXISTS label_windows(
    artifact TEXT NOT NULL,
    source TEXT NOT NULL,  -- of the images
    reference TEXT NOT NULL,  -- JSON: number in each bin, by label
    counts TEXT NOT NULL,  -- JSON: likewise, of the current window
    counted INTEGER NOT NULL,  -- sum of the counts
    lowest TEXT NOT NULL,  -- JSON: rank and id of the images with the lowest ranks in the current window
    began_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    shifted_at REAL,
    shifted TEXT NOT NULL,  -- JSON: counts of the window of the last event
    labels TEXT NOT NULL,  -- JSON: labels of the last event
    PRIMARY KEY(artifact, source)
)"""
READ = "SELECT artifact, source, counted, shifted_at, labels FROM label_windows ORDER BY source, artifact"
_FIND = (
    "SELECT reference, counts, lowest, began_at, shifted_at, shifted, labels FROM label_windows"
    " WHERE artifact = ? AND source = ?"
)
_FORGET = "DELETE FROM label_windows WHERE source = ? AND updated_at < ?"
_TRIM = (
    "DELETE FROM label_windows WHERE rowid NOT IN (SELECT rowid FROM label_windows ORDER BY updated_at DESC LIMIT ?)"
)
Bins = dict[str, list[float]]
"""Number of images in each bin, by label; the label of an inspected image is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreWindow:
    """A model and a source of images that are watched, and since when their scores have shifted.

    Attributes:
        artifact: Digest of the model's artifact, `sha256:HEX`.
        source: Source of the images, as in their events.
        counted: Number of images in the current window.
        since: When the window of the last event ended, Unix seconds; None since a window without a shift.
        labels: Labels whose images have shifted; empty if only all together have, or if the model inspects images.
    """

    artifact: str
    source: str
    counted: int = 0
    since: float | None = None
    labels: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """What the shift means, and what to do; empty without one."""
        if self.since is None:
            return ""
        which = f" that are taken for {', '.join(self.labels)}" if 0 < len(self.labels) <= MAX_NAMED else ""
        return (
            f"images of {self.source.rpartition('/')[2]}{which} no longer score as those that the model was judged on: "
            "check light, lens, position and the mix of classes, or label some of them and train again"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The score of one reply, as the bin that it falls into.

    Attributes:
        reply: The reply.
        artifact: Digest of the model's artifact.
        source: Source of the image.
        label: Label that the model gives the image; empty for an inspected image.
        rank: Share of the calibration's images that score as an image less like it, 0 to 1; low ones are unusual.
        place: Index of the bin.
        reference: Number of independent values in each bin that the model's calibration leads to expect.
        extensions: Further extension attributes of an event about a shift.
    """

    reply: Event
    artifact: str
    source: str
    label: str = ""
    rank: float = 1.0
    place: int
    reference: Sequence[float]
    extensions: Mapping[str, str]


def read_sample(reply: Event, extensions: Mapping[str, str]) -> Sample | None:
    """Return what a reply adds to a window; None for one without a rank, or with a p-value of at most 0.2."""
    read = {IMAGE_INSPECTED: _read_p_value, IMAGE_CLASSIFIED: _read_rank}.get(reply.type)
    if read is None:
        return None
    try:
        data = reply.json()
        values = read(data)
        artifact = str(data["artifact"]).encode()[:MAX_BYTES].decode()
    except (EventError, LookupError, TypeError, ValueError, ArithmeticError):  # a handler.py makes what it wants
        return None
    source = reply.extensions.get("causesource", "")
    if values is None:
        return None
    return Sample(reply=reply, artifact=artifact, source=source, extensions=extensions, **values)


def _read_p_value(data: Mapping[str, Any]) -> dict[str, Any] | None:
    images, groups = int(data["calibration"]["images"]), int(data["calibration"]["groups"])
    # P-values are 1 to images + 1, divided by the latter: as many as equally likely places between the scores.
    left_out = (images + 1) // 5
    rank, ranks = round(data["p_value"] * (images + 1)) - 1 - left_out, images + 1 - left_out
    begins = [-(-ranks * one // BINS) for one in range(BINS + 1)]
    weight = groups / images
    if not 0 <= rank < ranks or weight <= 0:
        return None
    reference = [(end - begin) * weight for begin, end in pairwise(begins)]
    return {"rank": float(data["p_value"]), "place": rank * BINS // ranks, "reference": reference}


def _read_rank(data: Mapping[str, Any]) -> dict[str, Any] | None:
    calibration = data["calibration"]
    label, rank, weight = calibration["label"], float(calibration["rank"]), int(calibration["groups"]) / BINS
    if not isinstance(label, str) or len(label.encode()) > MAX_BYTES or not 0 <= rank <= 1 or weight <= 0:
        return None
    return {"label": label, "rank": rank, "place": min(int(rank * BINS), BINS - 1), "reference": [weight] * BINS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What differs between a window and its reference.

    Attributes:
        labels: Labels whose images differ, the clearest first; empty if only all together do.
        distance: Largest distance of two cumulative distributions, where it exceeds its limit the most.
        limit: Limit of this distance.
        counts: Number of images in each bin there.
        expected: Number of images in each bin that the reference leads to expect.
    """

    labels: tuple[str, ...]
    distance: float
    limit: float
    counts: Sequence[float]
    expected: Sequence[float]


def count(db: sqlite3.Connection, sample: Sample | None, now: float) -> Event | None:
    """Count a sample within a commit, and return the event to store when its window shows a shift that is new."""
    if sample is None:
        return None
    row = db.execute(_FIND, (sample.artifact, sample.source)).fetchone()
    reference, counts, lowest = map(json.loads, row[:3]) if row else ({}, {}, [])
    began_at, shifted_at, shifted, labels = row[3:] if row else (now, None, "{}", "[]")
    if reference.setdefault(sample.label, [*sample.reference]) and len(reference) > MAX_LABELS:
        return None
    counts.setdefault(sample.label, [0] * BINS)[sample.place] += 1
    lowest = sorted([*lowest, [round(sample.rank, 6), sample.reply.extensions.get("causeid", "")]])[:SHOWN]
    event = None
    if sum(map(sum, counts.values())) >= WINDOW:
        db.execute(_FORGET, (sample.source, began_at))  # models that were replaced
        shift = find_shift(counts, reference)
        if shift is None:
            shifted_at, shifted, labels = None, "{}", "[]"
            add_window(counts, reference)
        elif shifted_at is None or find_shift(counts, json.loads(shifted)):
            shifted_at, shifted, labels = now, json.dumps(counts), json.dumps(shift.labels)
            event = _build_event(sample, shift, lowest)
        counts, lowest, began_at = {}, [], now
    counted = sum(map(sum, counts.values()))
    values = (json.dumps(reference), json.dumps(counts), counted, json.dumps(lowest), began_at, now)
    db.execute(
        "INSERT OR REPLACE INTO label_windows VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (sample.artifact, sample.source, *values, shifted_at, shifted, labels),
    )
    if not row:
        db.execute(_TRIM, (MAX_WINDOWS,))
    return event


def add_window(counts: Bins, reference: Bins) -> None:
    """Add a window without a shift to those labels of its reference that are less than a window."""
    for label, own in counts.items():
        if sum(reference[label]) < WINDOW:
            reference[label] = [sum(pair) for pair in zip(reference[label], own, strict=True)]


def find_shift(counts: Bins, reference: Bins) -> Shift | None:
    """Compare a window with its reference, each label and all together; None when there is no shift."""
    pairs = {label: (own, reference[label]) for label, own in counts.items() if label in reference}
    together = _pool([*pairs.values()])
    tests = [*pairs.items(), *([("", together)] if len(pairs) > 1 else [])]
    found = [(*compare(own, other, tests=len(tests)), label, own, other) for label, (own, other) in tests]
    beyond = sorted((one for one in found if one[0] > one[1]), key=lambda one: -one[0] / one[1])
    if not beyond:
        return None
    distance, limit, _, own, other = beyond[0]
    scale = sum(own) / sum(other)
    return Shift(
        labels=tuple(label for _, _, label, _, _ in beyond if label),
        distance=distance,
        limit=limit,
        counts=own,
        expected=[one * scale for one in other],
    )


def _pool(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[list[float], list[float]]:
    """Return the counts of all labels together, and the reference of a window with this mix of labels.

    The reference weighs as many images as its variance says, which is that of a stratified sample.
    """
    total = sum(sum(own) for own, _ in pairs)
    shares = [sum(own) / total for own, _ in pairs]
    size = 1 / sum(share**2 / sum(other) for share, (_, other) in zip(shares, pairs, strict=True))
    expected = [
        size * sum(share * other[place] / sum(other) for share, (_, other) in zip(shares, pairs, strict=True))
        for place in range(BINS)
    ]
    return [sum(own[place] for own, _ in pairs) for place in range(BINS)], expected


def compare(counts: Sequence[float], reference: Sequence[float], *, tests: int = 1) -> tuple[float, float]:
    """Return the largest distance of two cumulative distributions over bins, and the limit above which it is a shift.

    Args:
        counts: Number of images in each bin.
        reference: Number of images in each bin of the reference.
        tests: Number of such comparisons of one window; all of them together exceed their limits as rarely as one.

    Source: Smirnov, Table for estimating the goodness of fit of empirical distributions, 1948 (the unit of `LIMIT`); a
    distance of `LIMIT` is exceeded in about 2 * exp(-2 * LIMIT ** 2).
    """
    total, size = sum(counts), sum(reference)
    pairs = zip(accumulate(counts), accumulate(reference), strict=True)
    limit = math.sqrt((LIMIT**2 + math.log(tests) / 2) * (1 / total + 1 / size))
    return max(abs(one / total - other / size) for one, other in pairs), limit


def _build_event(sample: Sample, shift: Shift, lowest: Sequence[Sequence[Any]]) -> Event:
    reply = sample.reply
    model, version = (reply.extensions.get(name, "") for name in ("model", "modelversion"))
    about = {
        "model": model,
        "version": version,
        "artifact": sample.artifact,
        "source": sample.source,
        "labels": shift.labels,
        "distance": round(shift.distance, 4),
        "limit": round(shift.limit, 4),
        "counts": shift.counts,
        "expected": [round(one, 1) for one in shift.expected],
        "images": [cause for _, cause in lowest],
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
