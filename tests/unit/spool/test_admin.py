"""What an operator does with a queue, chosen by number, lane, state, source, reason and age."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import Selection, Spool
from eaves.spool.admin import dead_letter_lane, drop, list_entries, redrive, retry_now
from eaves.spool.limits import BATCH
from eaves.spool.schema import FREED
from tests.fakes.clock import ManualClock
from tests.unit.spool.entries import image, run

START = 1_000_000.0


def of_camera(number: int, camera: str = "north") -> Event:
    return image(number, source=f"/eaves/site/{camera}", subject=f"{number}.jpg")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
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
        (Selection(put_before=START + 60), [1]),
        (Selection(state="dead", reason="422", lane="out", source="north"), [1]),
    ],
)
def test_entries_are_chosen_by_what_is_given_together(spool: Spool, selection: Selection, expected: list[int]) -> None:
    assert seqs(spool, selection) == expected


def test_an_entry_is_shown_with_everything_but_its_data(spool: Spool) -> None:
    [stored] = list_entries(spool, Selection(seqs=(1,)))
    assert (stored.lane, stored.state, stored.source, stored.event_id) == ("out", "dead", "/eaves/site/north", "id-1")
    assert (stored.type, stored.subject, stored.attempts, stored.put_at) == (IMAGE_CAPTURED, "1.jpg", 1, START)
    assert (stored.status, stored.reason, stored.died_at) == (422, "answered 422: not an image", START + 180)
    found = spool.get(1)
    assert found is not None
    assert found.event == of_camera(1)
    assert spool.get(99) is None


def test_redrive_queues_only_dead_letters_and_wakes_who_delivers(spool: Spool) -> None:
    version = spool.version("out")
    assert redrive(spool, Selection(reason="422")) == 1
    assert spool.wait(version, 0)
    assert redrive(spool, Selection(seqs=(3, 4))) == 0
    assert [entry.seq for entry in spool.peek("out", limit=9)] == [1]


def test_retry_makes_what_backs_off_due_at_once(spool: Spool) -> None:
    assert retry_now(spool, Selection(lane="out")) == 1
    assert spool.tried("out", 9) == [(3, FREED)]


def test_drop_deletes_what_is_chosen_and_nothing_else(spool: Spool) -> None:
    assert drop(spool, Selection(state="dead", reason="413")) == 1
    assert drop(spool, Selection(lane="other")) == 1
    assert seqs(spool, Selection()) == [1, 3]
    assert (spool.counts(), spool.dead_bytes() > 0) == ({"out": (1, 1)}, True)


def test_more_than_one_batch_is_changed_whole(tmp_path: Path) -> None:
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
