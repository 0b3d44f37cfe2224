"""The durable queue, in one process: what is stored, refused, released, and what several threads share."""

from __future__ import annotations

import json
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from eaves.errors import SpoolError, SpoolFullError
from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import Entry, Selection, Spool, SpoolLimits
from eaves.spool.admin import drop, list_entries, redrive
from eaves.spool.file.database import WAL_LIMIT_BYTES, connect
from tests.fakes.clock import FrozenClock, ManualClock
from tests.waiting import wait_until

NOW = 1_000_000.0


def image(number: int = 0, size_bytes: int = 10) -> Event:
    return Event(id=f"id-{number}", source="/eaves/site/camera", type=IMAGE_CAPTURED, data=b"x" * size_bytes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    with Spool(path, clock=FrozenClock(NOW)) as opened:
        yield opened


def ids(entries: list[Entry]) -> list[str]:
    return [entry.event.id for entry in entries]


def rows(path: Path, table: str) -> int:
    db = sqlite3.connect(path)
    try:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        db.close()


def test_an_event_comes_back_as_it_was_put(spool: Spool) -> None:
    event = Event(
        id="1",
        source="/eaves/site/camera",
        type=IMAGE_CAPTURED,
        data=bytes(range(256)),
        datacontenttype="image/jpeg",
        subject="hall/ümlaut 1.jpg",
        time="2026-11-24T15:40:00Z",
        dataschema="https://example.org/schema",
        extensions={"partitionkey": "camera-1", "sequence": "7"},
    )
    spool.put(event)
    [entry] = spool.peek("out", now=NOW)
    assert entry.event == event
    assert (entry.lane, entry.attempts, entry.first_put_at) == ("out", 0, NOW)


def test_entries_come_in_the_order_they_were_put_and_stay_until_released(spool: Spool) -> None:
    for number in range(3):
        spool.put(image(number))
    assert ids(spool.peek("out", limit=2, now=NOW)) == ["id-0", "id-1"]
    first, second, _ = spool.peek("out", limit=9, now=NOW)
    assert ids(spool.peek("out", limit=9, now=NOW, exclude={first.seq})) == ["id-1", "id-2"]
    spool.ack(second)
    assert ids(spool.peek("out", limit=9, now=NOW)) == ["id-0", "id-2"]


def test_a_body_is_stored_once_for_all_lanes_and_goes_with_the_last(spool: Spool, path: Path) -> None:
    spool.put(image(size_bytes=5000), lanes=("a", "b", "a"))
    assert (rows(path, "events"), rows(path, "deliveries")) == (1, 2)
    assert 5000 < spool.size_bytes() < 6000
    for lane in ("a", "b"):
        [entry] = spool.peek(lane, now=NOW)
        assert rows(path, "events") == 1
        spool.ack(entry)
    assert (rows(path, "events"), spool.size_bytes(), spool.counts()) == (0, 0, {})


def test_an_event_for_no_lane_is_not_stored(spool: Spool, path: Path) -> None:
    assert spool.put(image(), lanes=())
    assert rows(path, "events") == 0


def test_once_stores_the_same_event_once_even_after_it_was_delivered_and_reopened(path: Path) -> None:
    with Spool(path) as spool:
        assert spool.put(image(), once=True)
        assert not spool.put(image(), once=True)
        spool.ack(spool.peek("out", now=NOW)[0])
    with Spool(path) as spool:
        assert not spool.put(image(), once=True)
        assert spool.seen("/eaves/site/camera", "id-0")
        assert not spool.seen("/eaves/site/other", "id-0")
        assert spool.depth() == 0


def test_a_refused_event_is_not_remembered_as_seen(path: Path) -> None:
    with Spool(path, limits=SpoolLimits(max_bytes=2000)) as spool:
        with pytest.raises(SpoolFullError):
            spool.put(image(1, size_bytes=3000), once=True)
        assert not spool.seen("/eaves/site/camera", "id-1")


@pytest.mark.parametrize(("max_bytes", "max_entries"), [(3000, 99), (99_999, 2)], ids=["bytes", "entries"])
def test_a_full_spool_refuses_and_drops_nothing(path: Path, max_bytes: int, max_entries: int) -> None:
    with Spool(path, limits=SpoolLimits(max_bytes=max_bytes, max_entries=max_entries)) as spool:
        spool.put(image(1, size_bytes=1200))
        spool.put(image(2, size_bytes=1200))
        with pytest.raises(SpoolFullError, match="is full") as refused:
            spool.put(image(3, size_bytes=1200))
        assert refused.value.hint is not None
        assert refused.value.http_status == 429
        assert ids(spool.peek("out", limit=9, now=NOW)) == ["id-1", "id-2"]
        spool.ack(spool.peek("out", now=NOW)[0])
        assert spool.put(image(3, size_bytes=1200))


def test_a_full_spool_still_settles_with_a_reply(path: Path) -> None:
    with Spool(path, limits=SpoolLimits(max_bytes=1000, max_entries=1)) as spool:
        spool.put(image(1, size_bytes=700))
        [entry] = spool.peek("out", now=NOW)
        spool.ack(entry, puts=[(image(2, size_bytes=2000), ("a", "b"))])
        assert spool.counts() == {"a": (1, 0), "b": (1, 0)}
        with pytest.raises(SpoolFullError):
            spool.put(image(3))


def test_settling_twice_does_nothing_the_second_time(spool: Spool) -> None:
    spool.put(image(1))
    [entry] = spool.peek("out", now=NOW)
    for _ in range(2):
        spool.ack(entry, puts=[(image(2), ("replies",))])
    assert spool.counts() == {"replies": (1, 0)}


def test_a_settle_whose_reply_cannot_be_stored_keeps_the_entry(path: Path) -> None:
    with Spool(path, connect=with_limit(20_000)) as spool:
        spool.put(image(1))
        [entry] = spool.peek("out", now=NOW)
        with pytest.raises(SpoolError, match="too big"):
            spool.ack(entry, puts=[(image(2), ("replies",)), (image(3, size_bytes=30_000), ("replies",))])
        assert spool.counts() == {"out": (1, 0)}


def test_a_retried_entry_waits_and_lets_others_pass(spool: Spool) -> None:
    spool.put(image(1))
    spool.put(image(2))
    [first] = spool.peek("out", now=NOW)
    spool.retry(first, NOW + 60, "answered 503")
    assert ids(spool.peek("out", limit=9, now=NOW)) == ["id-2"]
    assert spool.next_due("out", exclude={first.seq + 1}) == NOW + 60
    again, _ = spool.peek("out", limit=9, now=NOW + 60)
    assert (again.event.id, again.attempts) == ("id-1", 1)


def test_the_oldest_entry_of_a_lane_counts_while_it_backs_off(path: Path) -> None:
    clock = ManualClock(NOW)
    with Spool(path, clock=clock) as spool:
        spool.put(image(1))
        clock.turn(60)
        spool.put(image(2))
        spool.retry(spool.peek("out", now=NOW)[0], NOW + 3600, "answered 503")
        assert [lane.oldest_at for lane in spool.lanes()] == [NOW]


def test_what_failed_before_does_not_make_looking_slow(spool: Spool) -> None:
    """Ten days of one attempt every half minute leave tens of thousands of entries that are due again together."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)"
    events = "INSERT INTO events(eid, source, id, attributes, size_bytes, put_at, data)"
    attributes = '{"id": "1", "source": "s", "type": "t"}'
    statements = (
        f"{numbers} {events} SELECT i, 's', i, '{attributes}', 2, 0, x'' FROM n",
        "INSERT INTO deliveries(lane, eid) SELECT 'out', eid FROM events",
        "UPDATE deliveries SET not_before = 1000 + seq",
    )
    for sql in statements:
        spool.database().commit(lambda db, sql=sql: db.execute(sql))  # type: ignore[misc]
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    spool.database()._reader.set_progress_handler(count, 100)
    assert [entry.seq for entry in spool.peek("out", limit=4, now=NOW)] == [1, 2, 3, 4]
    assert steps < 50, "a look takes as long as what it finds, not as what is there"


def test_the_newest_entry_that_was_never_tried(spool: Spool) -> None:
    assert spool.peek_newest("out") == []
    for number in (1, 2, 3):
        spool.put(image(number))
    spool.retry(spool.peek("out", limit=3, now=NOW)[2], NOW + 60, "answered 503")
    assert ids(spool.peek_newest("out")) == ["id-2"]
    assert ids(spool.peek_newest("out", exclude={2})) == ["id-1"]


def test_nothing_is_due_on_an_empty_lane(spool: Spool) -> None:
    assert spool.next_due("out") is None
    spool.put(image())
    assert spool.next_due("out") == 0
    assert spool.next_due("out", exclude={spool.peek("out", now=NOW)[0].seq}) is None


def test_an_entry_does_not_wait_for_a_clock_that_was_set_back(spool: Spool) -> None:
    spool.put(image())
    spool.retry(spool.peek("out", now=NOW)[0], NOW + 30, "answered 503")
    assert ids(spool.peek("out", now=NOW - 365 * 86_400)) == ["id-0"]


def test_a_dead_letter_is_kept_with_its_reason_and_can_be_queued_again(spool: Spool) -> None:
    spool.put(image(1))
    [entry] = spool.peek("out", now=NOW)
    spool.dead_letter(entry, "answered 422: not an image", 422)
    assert spool.peek("out", now=NOW) == []
    assert spool.counts() == {"out": (0, 1)}
    [letter] = spool.dead()
    assert (letter.entry.event, letter.entry.attempts) == (image(1), 1)
    assert (letter.reason, letter.status, letter.died_at) == ("answered 422: not an image", 422, NOW)
    assert spool.dead("other") == []
    chosen = Selection(seqs=(entry.seq,))
    assert [redrive(spool, chosen), redrive(spool, chosen)] == [1, 0]
    assert [entry.attempts for entry in spool.peek("out", now=NOW)] == [0]


def test_a_late_settle_does_not_touch_a_dead_letter(spool: Spool) -> None:
    spool.put(image(1))
    [entry] = spool.peek("out", now=NOW)
    spool.dead_letter(entry, "answered 422", 422)
    spool.ack(entry, puts=[(image(2), ("replies",))])
    spool.retry(entry, NOW, "late")
    assert spool.counts() == {"out": (0, 1)}
    assert spool.dead()[0].reason == "answered 422"


@pytest.mark.parametrize(
    "damage",
    ["attributes = CAST(x'7bff7d' AS TEXT)", "attributes = '[]'", "attributes = '{\"id\": 5}'", "data = 'text'"],
)
def test_an_entry_whose_row_is_damaged_becomes_a_dead_letter_and_lets_others_pass(spool: Spool, damage: str) -> None:
    spool.put(image(0))
    spool.put(image(1))
    spool.database().commit(lambda db: db.execute(f"UPDATE events SET {damage} WHERE eid = 1"))
    assert ids(spool.peek("out", limit=9, now=NOW)) == ["id-1"]
    assert spool.counts() == {"out": (1, 1)}
    assert [stored.event_id for stored in list_entries(spool, Selection())] == ["id-0", "id-1"]


def test_a_reason_that_is_no_text_any_more_keeps_no_other_from_expiring(path: Path) -> None:
    with Spool(path, limits=SpoolLimits(dead_max_bytes=10), clock=FrozenClock(NOW)) as spool:
        for number in range(2):
            spool.put(image(number))
            spool.dead_letter(spool.peek("out", now=NOW)[0], "answered 422", 422)
            spool.database().commit(lambda db: db.execute("UPDATE deliveries SET reason = CAST(x'ff' AS TEXT)"))
        assert [letter.entry.event.id for letter in spool.dead()] == ["id-1"]


def test_what_was_put_is_there_after_reopening(path: Path) -> None:
    with Spool(path) as spool:
        spool.put(image(1))
        spool.put(image(2))
        spool.dead_letter(spool.peek("out", now=NOW)[0], "answered 400", 400)
    with Spool(path) as spool:
        assert ids(spool.peek("out", limit=9, now=NOW)) == ["id-2"]
        assert spool.counts() == {"out": (1, 1)}
        spool.put(image(3))
        assert [entry.seq for entry in spool.peek("out", limit=9, now=NOW)] == [2, 3]


def test_a_closed_spool_says_so(path: Path) -> None:
    spool = Spool(path)
    spool.close()
    spool.close()
    with pytest.raises(SpoolError, match="is closed"):
        spool.put(image())
    with pytest.raises(SpoolError, match="is closed"):
        spool.depth()


# Group commit


class Gate:
    """Connections that count commits, hold the first after `close` until others wait behind it, and can run full."""

    def __init__(self) -> None:
        self.commits = 0
        self.full_from: int | None = None
        self._hold: Callable[[], object] | None = None

    def close(self, spool: Spool, *, until_waiting: int) -> None:
        self.commits = 0
        self._hold = lambda: wait_until(lambda: len(spool.database()._pending) == until_waiting)

    def connect(self, path: Path) -> sqlite3.Connection:
        gate = self

        class Gated(sqlite3.Connection):
            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                if sql == "COMMIT":
                    gate._before_commit()
                return super().execute(sql, parameters)

        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Gated)

    def _before_commit(self) -> None:
        self.commits += 1
        hold, self._hold = self._hold, None
        if hold is not None:
            hold()
        if self.full_from is not None and self.commits >= self.full_from:
            raise sqlite3.OperationalError("database or disk is full")


def with_limit(size_bytes: int) -> Callable[[Path], sqlite3.Connection]:
    def limited(path: Path) -> sqlite3.Connection:
        db = connect(path)
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, size_bytes)
        return db

    return limited


def run_together(actions: Sequence[Callable[[], object]]) -> list[object]:
    """What each returned or raised, run in a thread each."""
    results: list[object] = [None] * len(actions)

    def run(number: int) -> None:
        try:
            results[number] = actions[number]()
        except SpoolError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def put_together(spool: Spool, sizes: list[int]) -> list[object]:
    return run_together([partial(spool.put, image(number, size)) for number, size in enumerate(sizes)])


def test_puts_of_many_threads_share_a_commit(path: Path) -> None:
    gate = Gate()
    with Spool(path, connect=gate.connect) as spool:
        gate.close(spool, until_waiting=7)
        assert put_together(spool, [10] * 8) == [True] * 8
        assert gate.commits == 2
        assert spool.depth() == 8


def test_settles_and_puts_share_a_commit_too(path: Path) -> None:
    gate = Gate()
    with Spool(path, connect=gate.connect) as spool:
        for number in range(3):
            spool.put(image(number))
        gate.close(spool, until_waiting=3)
        entries = spool.peek("out", limit=3, now=NOW)
        run_together([*(partial(spool.ack, entry) for entry in entries), partial(spool.put, image(3))])
        assert gate.commits == 2
        assert ids(spool.peek("out", limit=9, now=NOW)) == ["id-3"]


@pytest.mark.parametrize("refused", [SpoolFullError, SpoolError], ids=["over max_bytes", "SQLite refuses it"])
def test_one_refused_put_does_not_fail_those_it_shares_a_commit_with(path: Path, refused: type[SpoolError]) -> None:
    gate = Gate()
    limits = SpoolLimits(max_bytes=10_000 if refused is SpoolFullError else 100_000)
    with Spool(path, limits=limits, connect=gate.connect) as spool:
        spool.database()._writer.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 19_000)
        gate.close(spool, until_waiting=3)
        results = put_together(spool, [100, 100, 100, 20_000])
        assert results[:3] == [True] * 3
        assert type(results[3]) is refused
        assert gate.commits == 2
        assert spool.depth() == 3


def test_a_failed_commit_fails_every_put_that_shares_it(path: Path) -> None:
    gate = Gate()
    with Spool(path, connect=gate.connect) as spool:
        gate.close(spool, until_waiting=3)
        gate.full_from = 2
        results = put_together(spool, [10] * 4)
        assert results.count(True) == 1
        assert [str(result) for result in results if result is not True] == [
            f"spool {path}: database or disk is full"
        ] * 3
        assert (spool.depth(), gate.commits) == (1, 2)
        gate.full_from = None
        assert spool.put(image(4))


def test_a_full_disk_is_an_error_with_a_hint_and_loses_nothing(path: Path) -> None:
    with Spool(path) as spool:
        spool.put(image(1))
        pages = spool.database()._writer.execute("PRAGMA page_count").fetchone()[0]
        spool.database()._writer.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(SpoolError, match="database or disk is full") as full:
            spool.put(image(2, size_bytes=100_000))
        assert full.value.hint is not None
        assert "free disk space" in full.value.hint
        assert ids(spool.peek("out", limit=9, now=NOW)) == ["id-1"]
        assert spool.size_bytes() < 1000
        spool.database()._writer.execute("PRAGMA max_page_count = 100000")
        assert spool.put(image(2, size_bytes=100_000))


# Waiting


def test_a_put_wakes_who_waits(spool: Spool) -> None:
    version = spool.version("out")
    woken: list[bool] = []
    thread = threading.Thread(target=lambda: woken.append(spool.wait(version, 30.0)))
    thread.start()
    spool.put(image())
    thread.join()
    assert woken == [True]


def test_a_put_between_the_look_and_the_wait_is_not_missed(spool: Spool) -> None:
    version = spool.version("out")
    spool.put(image())
    assert spool.wait(version, 30.0)


def test_a_wait_ends_without_change_when_time_is_up_and_at_once_when_woken(spool: Spool) -> None:
    version = spool.version("out")
    assert not spool.wait(version, 0.0)
    spool.wake()
    assert spool.wait(version, 30.0)


# Files


def test_the_folder_is_made_and_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "spool.db"
    with Spool(path) as spool:
        spool.put(image())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_commit_is_synced(spool: Spool) -> None:
    db = spool.database()._writer
    assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert db.execute("PRAGMA journal_size_limit").fetchone()[0] == WAL_LIMIT_BYTES


def test_a_file_that_is_no_spool_is_named_and_left_alone(path: Path) -> None:
    path.write_bytes(b"these are notes, not a database" * 50)
    with pytest.raises(SpoolError, match=r"spool\.db: file is not a database") as refused:
        Spool(path)
    assert refused.value.hint is not None
    assert path.read_bytes().startswith(b"these are notes")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA user_version = 99", "has schema version 99"),
        ("PRAGMA application_id = 7", "is another program's database"),
    ],
)
def test_another_versions_or_programs_file_is_refused(path: Path, statement: str, message: str) -> None:
    Spool(path).close()
    db = connect(path)
    db.execute(statement)
    db.close()
    with pytest.raises(SpoolError, match=message) as refused:
        Spool(path)
    assert refused.value.hint is not None
    assert rows(path, "deliveries") == 0


def test_a_database_with_other_tables_is_refused(path: Path) -> None:
    db = connect(path)
    db.execute("CREATE TABLE notes(text)")
    db.close()
    with pytest.raises(SpoolError, match="is another program's database"):
        Spool(path)


def test_a_folder_that_cannot_be_made_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpoolError, match=r"Not a directory|File exists") as refused:
        Spool(tmp_path / "file" / "spool.db")
    assert refused.value.hint is not None


def test_a_path_that_is_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="unable to open"):
        Spool(tmp_path)


# Leases


def test_a_lease_has_one_holder(spool: Spool) -> None:
    mine, other = spool.lease("out"), spool.lease("out")
    assert mine.acquire()
    assert mine.acquire(), "holding it already is holding it"
    assert not other.acquire()
    assert not other.held
    mine.release()
    mine.release()
    with other:
        assert other.held
        assert not mine.acquire()
    assert not other.held


def test_leases_of_two_lanes_are_two_whatever_their_names(spool: Spool, path: Path) -> None:
    with spool.lease("trigger/a/b"), spool.lease("trigger/a"):
        pass
    assert {file.name for file in path.parent.glob("*.lease")} == {
        "spool.db.open.lease",
        "spool.db.users.lease",
        "spool.db.trigger%2Fa%2Fb.lease",
        "spool.db.trigger%2Fa.lease",
    }


# Against a model

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
            entry = Entry(seq=self.next_seq, lane=lane, event=event, attempts=0, first_put_at=NOW)
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
            taken = self.spool.peek(lane, limit=999, now=NOW)
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
