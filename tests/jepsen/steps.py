"""What a client does with a spool, step by step, and a model of what the spool holds after each step.

Every step is one commit of the spool, so that a client that is killed leaves the state before the step or after it.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import Selection, Spool
from eaves.spool.admin import redrive

SOURCE = "/eaves/jepsen/camera"
LANES = ("a", "b")
NOW = 2_000_000_000.0
"""Moment of every peek: later than every `not_before`."""
DUE_AT = 1_900_000_000.0
"""When an entry that failed is due again."""

Step = tuple[str, Any]
"""Name of an operation in `DOING` and its argument; JSON can hold it."""
Row = tuple[str, str, str, int]
"""Lane, id, state and failed attempts of an entry."""


def make_event(event_id: str) -> Event:
    """An image whose bytes and size follow from its id; it carries the digest of its data."""
    chance = random.Random(event_id)
    data = chance.randbytes(chance.choice((0, 40, 900, 3_000, 9_000, 30_000)))
    digest = {"datadigest": f"sha256:{hashlib.sha256(data).hexdigest()}"}
    return Event(id=event_id, source=SOURCE, type=IMAGE_CAPTURED, data=data, subject=event_id, extensions=digest)


@dataclass(slots=True)
class Model:
    """What a spool holds, in the order in which it was put.

    Attributes:
        rows: The entries.
        seen: Ids that were put once.
    """

    rows: list[Row] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def apply(self, step: Step) -> None:
        """Do what the step does."""
        name, argument = step
        getattr(self, f"_{name}")(argument)

    def state(self) -> tuple[tuple[Row, ...], frozenset[str]]:
        """A value to compare with `read_state`."""
        return tuple(self.rows), frozenset(self.seen)

    def _put(self, ids: Sequence[str]) -> None:
        for event_id in ids:
            if event_id not in self.seen:
                self.rows += [(lane, event_id, "queued", 0) for lane in LANES]
                self.seen.add(event_id)

    def _ack(self, argument: Sequence[Any]) -> None:
        lane, count, replies = argument
        places = self._first(lane, count)
        for place in reversed(places):
            del self.rows[place]
        if places:
            self.rows += [("replies", event_id, "queued", 0) for event_id in replies]

    def _dead_letter(self, lane: str) -> None:
        for place in self._first(lane, 1):
            self.rows[place] = (lane, self.rows[place][1], "dead", self.rows[place][3] + 1)

    def _retry(self, lane: str) -> None:
        for place in self._first(lane, 1):
            self.rows[place] = (lane, self.rows[place][1], "queued", self.rows[place][3] + 1)

    def _redrive(self, lane: str) -> None:
        self.rows = [(row[0], row[1], "queued", 0) if row[2] == "dead" and row[0] == lane else row for row in self.rows]

    def _first(self, lane: str, count: int) -> list[int]:
        return [place for place, row in enumerate(self.rows) if row[0] == lane and row[2] == "queued"][:count]


def make_steps(seed: int, count: int) -> list[Step]:
    """Steps of every kind in a random order; a step that takes an entry always finds one."""
    chance = random.Random(seed)
    model, steps, number = Model(), list[Step](), 0
    while len(steps) < count:
        name = chance.choice(("put", "put", "put", "ack", "ack", "dead_letter", "retry", "redrive"))
        lane = chance.choice(LANES)
        step: Step = (name, lane)
        if name == "put":
            first = max(0, number - chance.choice((0, 0, 1)))  # now and then an id that was put before
            number = first + 1
            step = (name, [f"e{first}"])
        elif name == "ack":
            step = (name, [lane, 1, [f"r{len(steps)}"] if chance.random() < 0.5 else []])
        before = model.state()
        model.apply(step)
        if model.state() != before:
            steps.append(step)
    return steps


def put(spool: Spool, ids: Sequence[str]) -> None:
    """Store events in one commit."""
    for event_id in ids:
        spool.put(make_event(event_id), lanes=LANES, once=True)


def ack(spool: Spool, argument: Sequence[Any]) -> None:
    """Release the first entries of a lane; one of them is replaced by replies."""
    lane, count, replies = argument
    entries = spool.peek(lane, limit=count, now=NOW)
    for entry in entries:
        spool.ack(entry, puts=[(make_event(event_id), ("replies",)) for event_id in replies])


def dead_letter(spool: Spool, lane: str) -> None:
    """Give up on the first entry of a lane."""
    spool.dead_letter(spool.peek(lane, now=NOW)[0], "answered 422", 422)


def retry(spool: Spool, lane: str) -> None:
    """Count a failed attempt of the first entry of a lane."""
    spool.retry(spool.peek(lane, now=NOW)[0], DUE_AT, "no connection")


DOING: dict[str, Callable[[Spool, Any], object]] = {
    "put": put,
    "ack": ack,
    "dead_letter": dead_letter,
    "retry": retry,
    "redrive": lambda spool, lane: redrive(spool, Selection(lane=lane)),
}


def read_state(path: Path) -> tuple[tuple[Row, ...], frozenset[str]]:
    """What a spool's file holds, read by SQLite alone, after the spool has opened it once.

    Raises:
        AssertionError: When the file is damaged, a counter is wrong, or an event is not the one that was put.
    """
    with Spool(path) as spool:
        counts, sizes = spool.counts(), (spool.size_bytes(), spool.dead_bytes())
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert not db.execute("SELECT 1 FROM events WHERE eid NOT IN (SELECT eid FROM deliveries)").fetchall()
        found = db.execute(
            "SELECT lane, id, state, attempts, data, size_bytes, eid"
            " FROM deliveries JOIN events USING(eid) ORDER BY seq"
        ).fetchall()
        seen = db.execute("SELECT count(*) FROM seen").fetchone()[0]
    finally:
        db.close()
    for row in found:
        assert row[4] == make_event(row[1]).data
    _check_counters(found, counts, sizes)
    known = frozenset(row[1] for row in found)
    with Spool(path) as spool:
        remembered = frozenset(f"e{n}" for n in range(1_000) if spool.seen(SOURCE, f"e{n}"))
    assert len(remembered) == seen
    assert known <= remembered | {event_id for event_id in known if event_id.startswith("r")}
    return tuple(row[:4] for row in found), remembered


def _check_counters(found: Sequence[Any], counts: dict[str, tuple[int, int]], sizes: tuple[int, int]) -> None:
    expected: dict[str, tuple[int, int]] = {}
    for lane, _, state, *_ in found:
        queued, dead = expected.get(lane, (0, 0))
        expected[lane] = (queued + (state == "queued"), dead + (state == "dead"))
    assert counts == expected
    queued_bytes = {row[6]: row[5] for row in found if row[2] == "queued"}
    dead_bytes = {row[6]: row[5] for row in found if row[6] not in queued_bytes}
    assert sizes == (sum(queued_bytes.values()), sum(dead_bytes.values()))
