"""What a client does with a spool, step by step, and a model of what the spool holds after each step.

Every step is one commit of the spool, so that a client that is killed leaves the state before the step or after it.
"""

import hashlib
import random
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import Entry, LedgerLimits, Selection, Spool
from eaves.spool.admin import list_entries, redrive

SOURCE = "/eaves/jepsen/camera"
LANES = ("a", "b")
REPLIES = "replies"
NOW = 2_000_000_000.0
"""Moment of every peek: later than every `not_before`."""
DUE_AT = 1_900_000_000.0
"""When an entry that failed is due again."""
KINDS = ("put", "put", "put", "put_many", "ack", "ack", "ack_many", "dead_letter", "retry", "redrive")

Step = tuple[str, Any]
"""Name of an operation in `DOING` and its argument; JSON can hold it."""
Row = tuple[str, str, str, int]
"""Lane, id, state and failed attempts of an entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a spool holds.

    Attributes:
        rows: The entries in the order in which they were put.
        known: Ids that were put once, and how often each came again where there is a ledger.
        lines: State of each line of the ledger by id; none without a ledger.
    """

    rows: tuple[Row, ...]
    known: dict[str, int]
    lines: dict[str, str]


def make_event(event_id: str) -> Event:
    """An image whose bytes and size follow from its id."""
    chance = random.Random(event_id)
    data = chance.randbytes(chance.choice((0, 40, 900, 3_000, 9_000, 30_000)))
    digest = {"datadigest": f"sha256:{hashlib.sha256(data).hexdigest()}"}
    return Event(id=event_id, source=SOURCE, type=IMAGE_CAPTURED, data=data, subject=event_id, extensions=digest)


@dataclass(slots=True)
class Model:
    """What a spool should hold.

    Attributes:
        ledger: Whether it has a ledger.
        rows: The entries in the order in which they were put.
        known: Ids that were put once, and how often each came again.
        replies: Ids that were put in place of what was released.
    """

    ledger: bool
    rows: list[Row] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)
    replies: set[str] = field(default_factory=set)

    def apply(self, step: Step) -> None:
        """Do what the step does."""
        name, argument = step
        getattr(self, f"_{name}")(argument)

    def state(self) -> State:
        """A value to compare with `read_state`."""
        lines = {event_id: self._line(event_id) for event_id in (*self.known, *self.replies)} if self.ledger else {}
        known = {event_id: count if self.ledger else 0 for event_id, count in self.known.items()}
        return State(rows=tuple(self.rows), known=known, lines=lines)

    def _line(self, event_id: str) -> str:
        states = {row[2] for row in self.rows if row[1] == event_id}
        return "queued" if "queued" in states else "dead" if "dead" in states else "released"

    def _put(self, event_id: str) -> None:
        if event_id in self.known:
            self.known[event_id] += 1
            return
        self.rows += [(lane, event_id, "queued", 0) for lane in LANES]
        self.known[event_id] = 0

    def _put_many(self, ids: Sequence[str]) -> None:
        for event_id in ids:
            self._put(event_id)

    def _ack(self, argument: Sequence[Any]) -> None:
        lane, replies = argument
        places = self._first(lane, 1)
        self._release(places)
        if places:
            self.rows += [(REPLIES, event_id, "queued", 0) for event_id in replies]
            self.replies.update(replies)

    def _ack_many(self, argument: Sequence[Any]) -> None:
        lane, count = argument
        self._release(self._first(lane, count))

    def _release(self, places: Sequence[int]) -> None:
        for place in reversed(places):
            del self.rows[place]

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


def make_steps(seed: int, count: int, *, ledger: bool) -> list[Step]:
    """Steps of every kind in a random order, each of which changes what the spool holds."""
    chance = random.Random(seed)
    model, steps, number = Model(ledger=ledger), list[Step](), 0
    while len(steps) < count:
        name, lane = chance.choice(KINDS), chance.choice(LANES)
        first = max(0, number - chance.choice((0, 0, 1)))  # now and then an id that was put before
        argument: Any = lane
        if name == "put":
            argument = f"e{first}"
        elif name == "put_many":
            argument = [f"e{first + at}" for at in range(chance.randrange(2, 6))]
        elif name == "ack":
            argument = [lane, [f"r{len(steps)}"] if chance.random() < 0.5 else []]
        elif name == "ack_many":
            argument = [lane, chance.randrange(2, 5)]
        before = model.state()
        model.apply((name, argument))
        if model.state() != before:
            steps.append((name, argument))
        number = len(model.known)
    return steps


def play(steps: Sequence[Step], *, ledger: bool) -> State:
    """What a spool should hold after these steps."""
    model = Model(ledger=ledger)
    for step in steps:
        model.apply(step)
    return model.state()


def take(spool: Spool, lane: str, count: int = 1) -> list[Entry]:
    """Return the first queued entries of a lane, whether they failed before or not."""
    seqs = [one.seq for one in list_entries(spool, Selection(lane=lane, state="queued"), limit=count)]
    return [entry for seq in seqs if (entry := spool.get_queued(seq)) is not None]


def ack(spool: Spool, argument: Sequence[Any]) -> None:
    """Release the first entry of a lane, and store replies in its place."""
    lane, replies = argument
    [entry] = take(spool, lane)
    spool.ack(entry, puts=[(make_event(event_id), (REPLIES,)) for event_id in replies])


def ack_many(spool: Spool, argument: Sequence[Any]) -> None:
    """Release the first entries of a lane."""
    lane, count = argument
    spool.ack_many(take(spool, lane, count))


DOING: dict[str, Callable[[Spool, Any], object]] = {
    "put": lambda spool, event_id: spool.put(make_event(event_id), lanes=LANES, once=True),
    "put_many": lambda spool, ids: spool.put_many([(make_event(event_id), LANES) for event_id in ids], once=True),
    "ack": ack,
    "ack_many": ack_many,
    "dead_letter": lambda spool, lane: spool.dead_letter(take(spool, lane)[0], "answered 422", 422),
    "retry": lambda spool, lane: spool.retry(take(spool, lane)[0], DUE_AT, "no connection"),
    "redrive": lambda spool, lane: redrive(spool, Selection(lane=lane)),
}


def open_spool(path: Path, *, ledger: bool) -> Spool:
    """The spool as the client opens it."""
    return Spool(path, ledger=LedgerLimits() if ledger else None)


def read_state(path: Path, *, ledger: bool) -> State:
    """What a spool's file holds.

    Raises:
        AssertionError: When the file is damaged, a counter is wrong, or an event is not the one that was put.
    """
    with open_spool(path, ledger=ledger) as spool:
        counts, sizes = spool.counts(), (spool.size_bytes(), spool.dead_bytes())
        known = {f"e{n}": 0 for n in range(100) if spool.seen(SOURCE, f"e{n}")}
        found = spool.ledger.read() if spool.ledger else []
        if spool.ledger:
            assert spool.ledger.counts().lines == len(found)
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert not db.execute("SELECT 1 FROM events WHERE eid NOT IN (SELECT eid FROM deliveries)").fetchall()
        rows = db.execute(
            "SELECT lane, id, state, attempts, data, size_bytes, eid"
            " FROM deliveries JOIN events USING(eid) ORDER BY seq"
        ).fetchall()
    finally:
        db.close()
    for row in rows:
        assert row[4] == make_event(row[1]).data
    _check_counters(rows, counts, sizes)
    known |= {line.id: line.repeats for line in found if line.id in known}
    return State(rows=tuple(row[:4] for row in rows), known=known, lines={line.id: line.state for line in found})


def _check_counters(found: Sequence[Any], counts: dict[str, tuple[int, int]], sizes: tuple[int, int]) -> None:
    expected: dict[str, tuple[int, int]] = {}
    for lane, _, state, *_ in found:
        queued, dead = expected.get(lane, (0, 0))
        expected[lane] = (queued + (state == "queued"), dead + (state == "dead"))
    assert counts == expected
    queued_bytes = {row[6]: row[5] for row in found if row[2] == "queued"}
    dead_bytes = {row[6]: row[5] for row in found if row[6] not in queued_bytes}
    assert sizes == (sum(queued_bytes.values()), sum(dead_bytes.values()))
