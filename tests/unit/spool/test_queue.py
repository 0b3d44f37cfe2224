"""The durable queue: what was put comes back, once for each lane, in order, and goes when it is released."""

from __future__ import annotations

from pathlib import Path

import pytest

from eaves.errors import SpoolError, SpoolFullError
from eaves.spool import Selection, Spool, SpoolLimits
from eaves.spool.admin import list_entries, redrive
from tests.unit.spool.entries import NOW, ids, image


def test_once_stores_the_same_event_once_even_after_it_was_delivered_and_reopened(path: Path) -> None:
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
def test_a_full_spool_refuses_and_drops_nothing(path: Path, max_bytes: int, max_entries: int) -> None:
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


def test_a_full_spool_still_settles_with_a_reply(path: Path) -> None:
    with Spool(path, limits=SpoolLimits(max_bytes=1000, max_entries=1)) as spool:
        spool.put(image(1, size_bytes=700))
        [entry] = spool.peek("out")
        spool.ack(entry, puts=[(image(2, size_bytes=2000), ("a", "b"))])
        assert spool.counts() == {"a": (1, 0), "b": (1, 0)}
        with pytest.raises(SpoolFullError):
            spool.put(image(3))


def test_a_retried_entry_waits_and_lets_others_pass(spool: Spool) -> None:
    spool.put(image(1))
    spool.put(image(2))
    [first] = spool.peek("out")
    spool.retry(first, NOW + 60, "answered 503")
    assert ids(spool.peek("out", limit=9)) == ["id-2"]
    assert spool.tried("out", 9) == [(first.seq, NOW + 60)]
    again = spool.get_queued(first.seq)
    assert again is not None
    assert (again.event.id, again.attempts) == ("id-1", 1)


def test_a_dead_letter_is_kept_with_its_reason_and_can_be_queued_again(spool: Spool) -> None:
    spool.put(image(1))
    [entry] = spool.peek("out")
    spool.dead_letter(entry, "answered 422: not an image", 422)
    assert spool.peek("out") == []
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
def test_an_entry_whose_row_is_damaged_becomes_a_dead_letter_and_lets_others_pass(spool: Spool, damage: str) -> None:
    spool.put(image(0))
    spool.put(image(1))
    spool.database().commit(lambda db: db.execute(f"UPDATE events SET {damage} WHERE eid = 1"))
    assert ids(spool.peek("out", limit=9)) == ["id-1"]
    assert spool.counts() == {"out": (1, 1)}
    assert [stored.event_id for stored in list_entries(spool, Selection())] == ["id-0", "id-1"]


def test_a_closed_spool_says_so(path: Path) -> None:
    spool = Spool(path)
    spool.close()
    spool.close()
    with pytest.raises(SpoolError, match="is closed"):
        spool.put(image())
    with pytest.raises(SpoolError, match="is closed"):
        spool.depth()


# Waiting
