"""A queue for operators, asked as other processes ask it: one JSON request, one JSON answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.admin.queue import (
    MAX_SEQ,
    STATES,
    Action,
    QueueRequest,
    RemoteQueue,
    Selector,
    SpoolQueue,
    answer_request,
    raise_refusal,
)
from eaves.admin.report import from_json
from eaves.errors import InputError, NotFoundError, PlatformError
from eaves.events import IMAGE_CAPTURED, Event
from eaves.problem_document import build_problem
from eaves.spool import LedgerLimits, Spool
from eaves.spool.schema import FREED
from tests.fakes.clock import ManualClock

TEXT = st.text(max_size=20)
SELECTORS = st.builds(
    Selector,
    seqs=st.lists(st.integers(0, MAX_SEQ), max_size=3).map(tuple),
    lane=TEXT,
    state=st.sampled_from(("", *STATES)),
    source=TEXT,
    reason=TEXT,
    older_than_s=st.none() | st.integers(0, 10**6).map(float),
    after=st.integers(0, MAX_SEQ),
)


class Asked(RemoteQueue):
    """A queue whose requests are answered here, or by what a test says."""

    def __init__(self, spool: Spool | None = None, said: bytes = b"[]") -> None:
        super().__init__("flowers-0")
        self.requests: list[str] = []
        self._spool, self._said = spool, said

    def _send(self, request: str) -> bytes:
        self.requests.append(request)
        return (
            self._said if self._spool is None else json.dumps(answer_request(SpoolQueue(self._spool), request)).encode()
        )


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


def ask(spool: Spool, do: str, **values: object) -> Any:
    return answer_request(SpoolQueue(spool), json.dumps({"do": do, **values}))


@given(SELECTORS)
def test_a_selection_comes_as_it_was_sent(selector: Selector) -> None:
    queue = Asked()
    assert queue.entries(selector, limit=7) == ()
    request = from_json(QueueRequest, json.loads(queue.requests[0]), exact=True)
    assert {name: getattr(request, name) for name in Selector.__slots__} == {
        name: getattr(selector, name) for name in Selector.__slots__
    }
    assert (request.do, request.limit, request.is_everything) == ("list", 7, selector.is_everything)


def test_every_method_answers_over_a_request_as_it_does_here(spool: Spool, tmp_path: Path) -> None:
    here, there = SpoolQueue(spool), Asked(spool)
    assert there.report() == here.report()
    assert list(there.entries(Selector())) == here.entries(Selector())
    assert there.entry(1) == here.entry(1)
    assert there.entry(1).data == bytes([1]) * 100
    with pytest.raises(NotFoundError, match="the queue has no entry 99"):
        there.entry(99)
    with pytest.raises(NotFoundError, match="holds no ledger"):
        there.ledger()
    assert there.change(Action.RETRY, Selector(lane="out"), dry_run=True).entries == 3
    assert there.change(Action.PURGE, Selector(), everything=True).entries == 4


def test_entries_are_filtered_and_limited(spool: Spool) -> None:
    def seqs(**values: object) -> list[int]:
        return [entry["seq"] for entry in ask(spool, "list", **values)]

    assert seqs() == [1, 2, 3, 4]
    assert seqs(limit=2) == [1, 2]
    assert seqs(lane="out", state="queued") == [2, 3]
    assert seqs(older_than_s=150) == [1, 2]
    assert seqs(reason="422") == [1]
    assert seqs(seqs=[2, 4]) == [2, 4]


def list_due(spool: Spool) -> list[int]:
    """Return the numbers of the entries that a deliverer sends now."""
    untried = [entry.seq for entry in spool.peek("out", limit=9)]
    return sorted(untried + [seq for seq, due in spool.tried("out", 9) if due == FREED])


@pytest.mark.parametrize(("state", "count", "due"), [("", 3, [1, 2, 3]), ("dead", 1, [1, 3]), ("queued", 2, [2, 3])])
def test_retry_makes_what_is_asked_for_due(spool: Spool, state: str, count: int, due: list[int]) -> None:
    assert ask(spool, "retry", lane="out", state=state)["entries"] == count
    assert list_due(spool) == due


def test_retry_does_not_wait_for_the_end_of_a_pause(spool: Spool) -> None:
    lanes: list[str] = []
    queue = SpoolQueue(spool, try_now=lanes.append)
    queue.change(Action.RETRY, Selector(lane="out"))
    queue.change(Action.RETRY, Selector(), everything=True)
    queue.change(Action.RETRY, Selector(lane="out"), dry_run=True)
    queue.change(Action.DROP, Selector(lane="out"))
    assert lanes == ["out", ""]


def test_purge_empties_one_lane(spool: Spool) -> None:
    counted = ask(spool, "purge", lane="out", dry_run=True)
    assert counted["entries"] == 3
    assert counted["size_bytes"] == spool.size_bytes() + spool.dead_bytes() - spool.lanes()[0].queued_bytes
    assert spool.depth("out") == 2
    assert ask(spool, "purge", lane="out")["entries"] == 3
    assert [lane.lane for lane in spool.lanes()] == ["other"]
    assert ask(spool, "purge", all=True)["entries"] == 1


@pytest.mark.parametrize(
    ("request_", "detail"),
    [
        ('{"do": "purge", "lan": "out"}', "unknown name 'lan'"),
        ('{"do": "list", "limit": 10001}', "limit must be from 1 to 10000"),
        ('{"do": "list", "limit": true}', "int expected, got 'True'"),
        ('{"do": "list", "seqs": [-1]}', "not the number of a queue entry: -1"),
        ('{"do": "list", "seqs": [%d]}' % (MAX_SEQ + 1), "not the number of a queue entry"),  # noqa: UP031 - JSON
        ('{"do": "list", "state": "gone"}', "state must be one of queued, dead"),
        ('{"do": "list", "older_than_s": NaN}', "float expected, got 'nan'"),
        ('{"do": "list", "older_than_s": -1}', "older_than_s must be a number of seconds >= 0"),
        ('{"do": "show"}', "show needs the number of one entry"),
        ('{"do": "forget"}', "a queue can't 'forget'"),
        ('{"do": "retry"}', "retry: no entries are selected"),
        ('{"do": "drop", "state": "queued"}', "drop deletes dead letters only"),
        ('{"do": "purge", "reason": "x"}', "purge: no lane is selected"),
        ("[" * 100_000, "not a request to a queue"),
        ("", "not a request to a queue"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(spool: Spool, request_: str, detail: str) -> None:
    with pytest.raises(InputError, match=detail):
        answer_request(SpoolQueue(spool), request_)
    assert (spool.depth(), len(spool.dead())) == (3, 1)


def test_an_answer_that_is_none_is_said_so_and_a_refusal_is_raised_again() -> None:
    for said in (b"<html>", b'[{"seq": "7"}]', b"7"):
        with pytest.raises(PlatformError, match="flowers-0 gave an answer that can't be read"):
            Asked(said=said).entries(Selector())
    with pytest.raises(InputError, match=r"^flowers-0: no entries are selected$") as refused:
        raise_refusal(build_problem(400, "no entries are selected", "use --all"), name="flowers-0")
    assert refused.value.hint == "use --all"


def test_the_ledger_is_read_in_pieces_and_traced(tmp_path: Path) -> None:
    with Spool(tmp_path / "relay.db", ledger=LedgerLimits(), clock=ManualClock()) as spool:
        for number in range(1, 6):
            spool.put(Event(id=f"id-{number}", source="/eaves/barn/north", type="t"))
        queue = Asked(spool)
        assert [line.id for line in queue.ledger(after=1, limit=3)] == ["id-2", "id-3", "id-4"]
        assert queue.ledger(after=5) == ()
        traced = queue.trace("/eaves/barn/north", "id-2")
        assert traced == SpoolQueue(spool).trace("/eaves/barn/north", "id-2")
        assert queue.trace("/eaves/barn/north", "id-9") is None
