"""The routes of a queue, without a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from eaves.admin.queue import SpoolQueue
from eaves.admin.routes import AdminResponse, answer
from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import LedgerLimits, Spool
from eaves.spool.schema import FREED
from tests.fakes.clock import ManualClock


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """On lane `out`: 1 refused, 2 backing off for an hour, 3 fresh; on lane `other`: 4. A minute between the puts."""
    clock = ManualClock()
    with Spool(tmp_path / "spool.db", clock=clock) as opened:
        for number in (1, 2, 3, 4):
            event = Event(
                id=f"id-{number}",
                source="/eaves/barn/north",
                type=IMAGE_CAPTURED,
                subject=f"{number}.png",
                datacontenttype="image/png",
                data=bytes([number]) * 100,
            )
            opened.put(event, lanes=("other" if number == 4 else "out",))
            clock.turn(60)
        first, second = opened.peek("out", limit=2)
        opened.dead_letter(first, "answered 422: not an image", 422)
        opened.retry(second, clock.now() + 3600, "answered 500")
        yield opened


def ask(spool: Spool, method: str, path: str, **query: object) -> AdminResponse:
    return answer(SpoolQueue(spool), method, path, urlencode(query))


def read(response: AdminResponse) -> Any:
    assert response.status == 200, response.body
    return json.loads(response.body)


def test_the_report_has_every_lane(spool: Spool) -> None:
    report = read(ask(spool, "GET", "/queues"))
    other, out = report["lanes"]
    assert (other["lane"], other["queued"], other["oldest_age_s"]) == ("other", 1, 60.0)
    assert (out["lane"], out["queued"], out["dead"], out["oldest_age_s"]) == ("out", 2, 1, 180.0)
    assert report["queued_bytes"] == out["queued_bytes"] + other["queued_bytes"]
    assert report["dead_bytes"] == out["dead_bytes"] > 100


def test_entries_are_filtered_and_limited(spool: Spool) -> None:
    def seqs(**query: object) -> list[int]:
        return [entry["seq"] for entry in read(ask(spool, "GET", "/queues/entries", **query))]

    assert seqs() == [1, 2, 3, 4]
    assert seqs(limit=2) == [1, 2]
    assert seqs(lane="out", state="queued") == [2, 3]
    assert seqs(older_than_s=150) == [1, 2]
    assert seqs(reason="422") == [1]
    assert seqs(seqs="2,4") == [2, 4]


def test_an_entry_is_shown_with_its_data(spool: Spool) -> None:
    shown = read(ask(spool, "GET", "/queues/entries/1"))
    assert shown["entry"]["reason"] == "answered 422: not an image"
    assert shown["attributes"]["subject"] == "1.png"
    data = ask(spool, "GET", "/queues/entries/1/data")
    assert (data.status, data.content_type, data.body) == (200, "image/png", bytes([1]) * 100)


def list_due(spool: Spool) -> list[int]:
    """Return the numbers of the entries that a deliverer sends now."""
    untried = [entry.seq for entry in spool.peek("out", limit=9)]
    return sorted(untried + [seq for seq, due in spool.tried("out", 9) if due == FREED])


def test_retry_makes_everything_due(spool: Spool) -> None:
    assert read(ask(spool, "POST", "/queues/retry", lane="out"))["entries"] == 3
    assert list_due(spool) == [1, 2, 3]


def test_retry_does_not_wait_for_the_end_of_a_pause(spool: Spool) -> None:
    lanes: list[str] = []
    queue = SpoolQueue(spool, try_now=lanes.append)
    for query in ("lane=out", "all=true", "lane=out&dry_run=true"):
        assert answer(queue, "POST", "/queues/retry", query).status == 200
    answer(queue, "POST", "/queues/drop", "lane=out")
    assert lanes == ["out", ""]


@pytest.mark.parametrize(("state", "due"), [("dead", [1, 3]), ("queued", [2, 3])])
def test_retry_keeps_to_the_state_that_is_asked_for(spool: Spool, state: str, due: list[int]) -> None:
    assert read(ask(spool, "POST", "/queues/retry", lane="out", state=state))["entries"] == (
        1 if state == "dead" else 2
    )
    assert list_due(spool) == due


def test_drop_deletes_dead_letters_only(spool: Spool) -> None:
    assert read(ask(spool, "POST", "/queues/drop", all="true"))["entries"] == 1
    assert spool.depth() == 3


def test_purge_empties_one_lane(spool: Spool) -> None:
    counted = read(ask(spool, "POST", "/queues/purge", lane="out", dry_run="true"))
    assert counted["entries"] == 3
    assert counted["size_bytes"] == spool.size_bytes() + spool.dead_bytes() - spool.lanes()[0].queued_bytes
    assert spool.depth("out") == 2
    assert read(ask(spool, "POST", "/queues/purge", lane="out"))["entries"] == 3
    assert [lane.lane for lane in spool.lanes()] == ["other"]
    assert read(ask(spool, "POST", "/queues/purge", all="true"))["entries"] == 1


@pytest.mark.parametrize(
    ("method", "path", "query", "status", "detail"),
    [
        ("GET", "/queues/entries/99", {}, 404, "the queue has no entry 99"),
        ("GET", "/queues/entries/x", {}, 404, "no such endpoint"),
        ("GET", f"/queues/entries/{10**30}", {}, 400, "not the number of a queue entry"),
        ("GET", "/queues/retry", {}, 404, "no such endpoint"),
        ("GET", "/queues", {"lane": "out"}, 400, "accepts no query parameters"),
        ("GET", "/queues/entries", {"limit": "0"}, 400, "limit must be from 1 to 10000"),
        ("GET", "/queues/entries", {"lan": "out"}, 400, "unknown filter 'lan'"),
        ("POST", "/queues/retry", {}, 400, "no entries are selected"),
        ("POST", "/queues/drop", {"state": "queued"}, 400, "drop deletes dead letters only"),
        ("POST", "/queues/purge", {"reason": "x"}, 400, "purge: no lane is selected"),
        ("POST", "/queues/purge", {"all": "yes"}, 400, "all must be true or false"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    spool: Spool, method: str, path: str, query: dict[str, str], status: int, detail: str
) -> None:
    response = ask(spool, method, path, **query)
    assert (response.status, response.content_type) == (status, "application/problem+json")
    assert detail in json.loads(response.body)["detail"]
    assert (spool.depth(), len(spool.dead())) == (3, 1)


def test_the_ledger_is_read_in_pieces_as_json_lines(tmp_path: Path) -> None:
    with Spool(tmp_path / "relay.db", ledger=LedgerLimits(), clock=ManualClock()) as spool:
        for number in range(1, 6):
            spool.put(Event(id=f"id-{number}", source="/eaves/barn/north", type="t"))
        response = ask(spool, "GET", "/queues/ledger", after=1, limit=3)
        assert (response.status, response.content_type) == (200, "application/jsonl")
        assert [json.loads(line)["id"] for line in response.body.splitlines()] == ["id-2", "id-3", "id-4"]
        assert ask(spool, "GET", "/queues/ledger", after=5).body == b""
        for query in ({"limit": 0}, {"after": "x"}, {"before": 1}):
            assert ask(spool, "GET", "/queues/ledger", **query).status == 400
        assert ask(spool, "POST", "/queues/ledger").status == 404
