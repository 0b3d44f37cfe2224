"""The durable queue: what was put comes back, in order; a model of it, after any steps; what operators do with it."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from eaves.errors import SpoolError, SpoolFullError
from eaves.events import Event
from eaves.spool import Entry, Selection, Spool, SpoolLimits
from eaves.spool.admin import dead_letter_lane, drop, list_entries, redrive, retry_now
from eaves.spool.limits import BATCH
from eaves.spool.schema import FREED
from tests.fakes.clock import FrozenClock, ManualClock
from tests.unit.spool.entries import NOW, ids, image, run


def test_once_stores_the_same_event_once_even_after_it_was_delivered_and_reopened(path: Path):
    with Spool(path) as spool:
        assert spool.put(image(), once=True)
        assert not spool.put(image(), once=True)
        spool.ack(spool.peek("out")[0])
    with Spool(path) as spool:
        assert not spool.put(image(), once=True)
        assert spool.seen("/eaves/site/camera", "id-0")
        assert not spool.seen("/eaves/site/other", "id-0")
        assert spool.depth() == 0


@pytest.mark.parametrize(("max_bytes", "max_entries"), [(3000, 99), (99_999, 2)], ids=["bytes", "entries"])
def test_a_full_spool_refuses_and_drops_nothing(path: Path, max_bytes: int, max_entries: int):
    with Spool(path, limits=SpoolLimits(max_bytes=max_bytes, max_entries=max_entries)) as spool:
        spool.put(image(1, size_bytes=1200))
        spool.put(image(2, size_bytes=1200))
        with pytest.raises(SpoolFullError, match="is full") as refused:
            spool.put(image(3, size_bytes=1200))
        assert refused.value.hint is not None
        assert refused.value.http_status == 429
        assert ids(spool.peek("out", limit=9)) == ["id-1", "id-2"]
        spool.ack(spool.peek("out")[0])
        assert spool.put(image(3, size_bytes=1200))


def test_a_full_spool_still_settles_with_a_reply(path: Path):
    with Spool(path, limits=SpoolLimits(max_bytes=1000, max_entries=1)) as spool:
        spool.put(image(1, size_bytes=700))
        [entry] = spool.peek("out")
        spool.ack(entry, puts=[(image(2, size_bytes=2000), ("a", "b"))])
        assert spool.counts() == {"a": (1, 0), "b": (1, 0)}
        with pytest.raises(SpoolFullError):
            spool.put(image(3))


def test_a_dead_letter_is_kept_with_its_reason_and_can_be_queued_again(spool: Spool):
    spool.put(image(1))
    [entry] = spool.peek("out")
    spool.dead_letter(entry, "answered 422: not an image", 422)
    assert spool.peek("out") == []
    spool.ack(entry, puts=[(image(2), ("out",))])  # by a sender that got its answer later
    assert spool.counts() == {"out": (0, 1)}
    [letter] = spool.dead()
    assert (letter.entry.event, letter.entry.attempts) == (image(1), 1)
    assert (letter.reason, letter.status, letter.died_at) == ("answered 422: not an image", 422, NOW)
    assert spool.dead("other") == []
    chosen = Selection(seqs=(entry.seq,))
    assert [redrive(spool, chosen), redrive(spool, chosen)] == [1, 0]
    assert [entry.attempts for entry in spool.peek("out")] == [0]


@pytest.mark.parametrize(
    "damage",
    ["attributes = CAST(x'7bff7d' AS TEXT)", "attributes = '[]'", "data = x'00'"],
)
def test_an_entry_whose_row_is_damaged_becomes_a_dead_letter_and_lets_others_pass(spool: Spool, damage: str):
    spool.put(image(0))
    spool.put(image(1))
    spool.database().commit(lambda db: db.execute(f"UPDATE events SET {damage} WHERE eid = 1"))
    assert ids(spool.peek("out", limit=9)) == ["id-1"]
    assert spool.counts() == {"out": (1, 1)}
    assert [stored.event_id for stored in list_entries(spool, Selection())] == ["id-0", "id-1"]


def test_a_closed_spool_says_so(path: Path):
    spool = Spool(path)
    spool.close()
    spool.close()
    with pytest.raises(SpoolError, match="is closed"):
        spool.put(image())
    with pytest.raises(SpoolError, match="is closed"):
        spool.depth()


# Waiting


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


START = 1_000_000.0


def of_camera(number: int, camera: str = "north") -> Event:
    return image(number, source=f"/eaves/site/{camera}", subject=f"{number}.jpg")


@pytest.fixture
def four(tmp_path: Path) -> Iterator[Spool]:
    """Four entries a minute apart: 1 and 2 refused for two reasons, 3 backing off, 4 fresh from another camera."""
    clock = ManualClock(START)
    with Spool(tmp_path / "spool.db", clock=clock) as opened:
        for number in (1, 2, 3):
            opened.put(of_camera(number))
            clock.turn(60)
        opened.put(of_camera(4, "south"), lanes=("other",))
        first, second, third = opened.peek("out", limit=3)
        opened.dead_letter(first, "answered 422: not an image", 422)
        opened.dead_letter(second, "answered 413: too large", 413)
        opened.retry(third, clock.now() + 3600, "answered 503")
        yield opened


def seqs(spool: Spool, selection: Selection) -> list[int]:
    return [stored.seq for stored in list_entries(spool, selection)]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), [1, 2, 3, 4]),
        (Selection(seqs=(2, 4, 99)), [2, 4]),
        (Selection(lane="out"), [1, 2, 3]),
        (Selection(state="dead"), [1, 2]),
        (Selection(reason="answered 4__"), []),
        (Selection(source="/eaves/site/south"), [4]),
        (Selection(source="outh"), []),
        (Selection(older_than_s=120), [1]),
        (Selection(state="dead", reason="422", lane="out", source="north"), [1]),
    ],
)
def test_entries_are_chosen_by_what_is_given_together(four: Spool, selection: Selection, expected: list[int]):
    assert seqs(four, selection) == expected


def test_redrive_queues_only_dead_letters_and_wakes_who_delivers(four: Spool):
    version = four.version("out")
    assert redrive(four, Selection(reason="422")) == 1
    assert four.wait(version, 0)
    assert redrive(four, Selection(seqs=(3, 4))) == 0
    assert [entry.seq for entry in four.peek("out", limit=9)] == [1]


def test_retry_makes_what_backs_off_due_at_once(four: Spool):
    assert retry_now(four, Selection(lane="out")) == 1
    assert four.tried("out", 9) == [(3, FREED)]


def test_more_than_one_batch_is_changed_whole(tmp_path: Path):
    with Spool(tmp_path / "spool.db") as spool:
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)"
        events = "INSERT INTO events(eid, source, id, attributes, size_bytes, put_at, data)"
        for sql in (
            f"{numbers} {events} SELECT i, 's', i, '{{}}', 2, 0, x'' FROM n",
            "INSERT INTO deliveries(lane, eid) SELECT 'gone', eid FROM events",
        ):
            run(spool, sql)
        assert BATCH < 2500
        assert dead_letter_lane(spool, "gone", "the trigger of this queue was removed") == 2500
        assert spool.counts() == {"gone": (0, 2500)}
        assert redrive(spool, Selection(reason="the trigger of this queue was removed")) == 2500
        assert drop(spool, Selection(lane="gone")) == 2500
        assert (spool.counts(), spool.size_bytes(), spool.dead_bytes()) == ({}, 0, 0)
