"""A queue for operators, asked as other processes ask it: one JSON request, one JSON answer."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.admin.queue import (
    Action,
    RemoteQueue,
    SpoolQueue,
    answer_request,
    raise_refusal,
)
from eaves.errors import InputError, NotFoundError, PlatformError
from eaves.events import IMAGE_CAPTURED, Event
from eaves.problem_document import build_problem
from eaves.spool import Selection, Spool
from eaves.spool.admin import MAX_SEQ
from tests.fakes.clock import ManualClock


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


def test_every_method_answers_over_a_request_as_it_does_here(spool: Spool, tmp_path: Path):
    here, there = SpoolQueue(spool), Asked(spool)
    assert replace(there.report(), usage=None) == replace(here.report(), usage=None)
    assert list(there.entries(Selection())) == here.entries(Selection())
    assert there.entry(1) == here.entry(1)
    assert there.entry(1).data == bytes([1]) * 100
    with pytest.raises(NotFoundError, match="the queue has no entry 99"):
        there.entry(99)
    with pytest.raises(NotFoundError, match="holds no ledger"):
        there.ledger()
    assert there.change(Action.RETRY, Selection(lane="out"), dry_run=True).entries == 3
    assert there.change(Action.PURGE, Selection(), everything=True).entries == 4


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
def test_what_makes_no_sense_is_refused_and_changes_nothing(spool: Spool, request_: str, detail: str):
    with pytest.raises(InputError, match=detail):
        answer_request(SpoolQueue(spool), request_)
    assert (spool.depth(), len(spool.dead())) == (3, 1)


def test_an_answer_that_is_none_is_said_so_and_a_refusal_is_raised_again():
    for said in (b"<html>", b'[{"seq": "7"}]', b"7"):
        with pytest.raises(PlatformError, match="flowers-0 gave an answer that can't be read"):
            Asked(said=said).entries(Selection())
    with pytest.raises(InputError, match=r"^flowers-0: no entries are selected$") as refused:
        raise_refusal(build_problem(400, "no entries are selected", "use --all"), name="flowers-0")
    assert refused.value.hint == "use --all"
