"""A spool against a model of it, after any steps."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from eaves.errors import SpoolFullError
from eaves.events import Event
from eaves.spool import Entry, Selection, Spool, SpoolLimits
from eaves.spool.admin import drop, redrive
from tests.fakes.clock import FrozenClock
from tests.unit.spool.entries import NOW, image

LANES = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3).map(tuple)
SIZES = st.integers(0, 400)


class SpoolModel(RuleBasedStateMachine):
    """A spool and a dictionary of what should be in it, changed side by side."""

    max_bytes = 3000

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "spool.db"
        self.spool = self.open()
        self.queued: dict[int, Entry] = {}
        self.dead: dict[int, Entry] = {}
        self.seen: set[str] = set()
        self.sizes: dict[str, int] = {}
        self.next_seq = 1
        self.next_id = 0

    def open(self) -> Spool:
        return Spool(
            self.path, limits=SpoolLimits(max_bytes=self.max_bytes, dead_max_bytes=10**9), clock=FrozenClock(NOW)
        )

    def teardown(self) -> None:
        self.spool.close()
        self.folder.cleanup()

    def queued_bytes(self) -> int:
        return sum(self.sizes[event_id] for event_id in {entry.event.id for entry in self.queued.values()})

    def dead_bytes(self) -> int:
        queued = {entry.event.id for entry in self.queued.values()}
        return sum(self.sizes[event_id] for event_id in {entry.event.id for entry in self.dead.values()} - queued)

    def lanes(self) -> dict[str, tuple[int, int, int, int]]:
        """Lane to entries queued and dead, and the bytes of each."""
        found = {}
        for lane in "abc":
            queued = [self.sizes[entry.event.id] for entry in self.queued.values() if entry.lane == lane]
            dead = [self.sizes[entry.event.id] for entry in self.dead.values() if entry.lane == lane]
            if queued or dead:
                found[lane] = (len(queued), len(dead), sum(queued), sum(dead))
        return found

    def fresh(self, size_bytes: int) -> Event:
        self.next_id += 1
        event = image(self.next_id, size_bytes)
        self.sizes[event.id] = len(json.dumps(event.attributes())) + size_bytes
        return event

    def stored(self, event: Event, lanes: tuple[str, ...]) -> None:
        for lane in dict.fromkeys(lanes):
            entry = Entry(
                seq=self.next_seq, lane=lane, event=event, attempts=0, first_put_at=NOW, size_bytes=self.sizes[event.id]
            )
            self.queued[self.next_seq] = entry
            self.next_seq += 1

    @rule(lanes=LANES, size_bytes=SIZES, once=st.booleans())
    def put(self, lanes: tuple[str, ...], size_bytes: int, once: bool) -> None:
        event = self.fresh(size_bytes)
        room = self.queued_bytes() + self.sizes[event.id] <= self.max_bytes
        if lanes and not room:
            with pytest.raises(SpoolFullError):
                self.spool.put(event, lanes=lanes, once=once)
            return
        assert self.spool.put(event, lanes=lanes, once=once)
        self.stored(event, lanes)
        if once:
            self.seen.add(event.id)
            assert not self.spool.put(event, lanes=lanes, once=True)

    @precondition(lambda self: self.queued)
    @rule(data=st.data(), lanes=LANES, size_bytes=SIZES)
    def settle(self, data: st.DataObject, lanes: tuple[str, ...], size_bytes: int) -> None:
        seq = data.draw(st.sampled_from(sorted(self.queued)))
        entry, reply = self.queued.pop(seq), self.fresh(size_bytes)
        for _ in range(2):
            self.spool.ack(entry, puts=[(reply, lanes)])
        self.stored(reply, lanes)

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def dead_letter(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from(sorted(self.queued)))
        self.dead[seq] = self.queued.pop(seq)
        self.spool.dead_letter(self.dead[seq], "reason", 422)

    @precondition(lambda self: self.dead)
    @rule(data=st.data(), again=st.booleans())
    def redrive_or_drop(self, data: st.DataObject, again: bool) -> None:
        seq = data.draw(st.sampled_from(sorted(self.dead)))
        entry = self.dead.pop(seq)
        if again:
            assert redrive(self.spool, Selection(seqs=(seq,))) == 1
            self.queued[seq] = entry
        else:
            assert drop(self.spool, Selection(seqs=(seq,))) == 1

    @rule()
    def reopen(self) -> None:
        self.spool.close()
        self.spool = self.open()

    @invariant()
    def agrees(self) -> None:
        for lane in "abc":
            expected = [entry for _, entry in sorted(self.queued.items()) if entry.lane == lane]
            taken = self.spool.peek(lane, limit=999)
            assert [(entry.seq, entry.event) for entry in taken] == [(entry.seq, entry.event) for entry in expected]
        assert {letter.entry.seq for letter in self.spool.dead()} == set(self.dead)
        assert self.spool.depth() == len(self.queued)
        assert (self.spool.size_bytes(), self.spool.dead_bytes()) == (self.queued_bytes(), self.dead_bytes())
        lanes = {lane.lane: (lane.queued, lane.dead, lane.queued_bytes, lane.dead_bytes) for lane in self.spool.lanes()}
        assert lanes == self.lanes()
        assert self.spool.remembered() == len(self.seen)
        assert all(self.spool.seen("/eaves/site/camera", event_id) for event_id in self.seen)


TestSpoolAgreesWithAModel = SpoolModel.TestCase
TestSpoolAgreesWithAModel.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
