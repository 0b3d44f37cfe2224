"""What the relay says of one event, in words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from eaves.admin.client import SocketQueue
from eaves.admin.queue import SpoolQueue
from eaves.admin.server import AdminServer, answer_queue
from eaves.console.pages.events import NO_LINE, NOT_KNOWN, find_forwarding
from eaves.ingress import Response
from eaves.spool import LedgerLimits, Spool
from tests.fakes.clock import START, ManualClock
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.material import build_flow

FLOW = build_flow(4, with_images=False)
PREDICTIONS = FLOW.records[1::2]


def _answer(queue: SpoolQueue, _: str, __: str, query: str) -> Response:
    return answer_queue(queue, query)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def relay(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    """A relay's spool: the first prediction was delivered, the second refused, the third waits."""
    with Spool(tmp_path / "relay.db", ledger=LedgerLimits(), clock=clock) as spool:
        for event in FLOW.events[1:6:2]:
            spool.put(event, lanes=("out",))
        clock.turn(60)
        first, second, _ = spool.peek("out", limit=9)
        spool.ack(first)
        spool.dead_letter(second, "answered 403: not this site", 403)
        yield spool


@pytest.fixture
def backend(relay: Spool, tmp_path: Path) -> Iterator[FakeBackend]:
    with Spool(tmp_path / "broker.db") as broker:
        found: dict[str, Spool] = {"broker": broker, "flowers.relay": relay}
        paths = {name: tmp_path / name / "socket" for name in found}
        servers = [
            AdminServer(partial(_answer, SpoolQueue(found[name])), path=path, max_bytes=10_000)
            for name, path in paths.items()
        ]
        yield FakeBackend(named_queues={name: SocketQueue(path) for name, path in paths.items()})
        for server in servers:
            server.stop()


def test_each_state_of_an_event_is_said(backend: FakeBackend) -> None:
    found = [find_forwarding(backend, record) for record in PREDICTIONS]
    assert [(one.title, one.state) for one in found if one is not None] == [
        ("Delivered to the cloud", "done"),
        ("Refused by the cloud: answered 403: not this site", "failing"),
        ("Waiting in the relay's queue", "open"),
        (NOT_KNOWN, "open"),
    ]
    assert [one.at is not None and one.at > START for one in found if one is not None] == [True, True, False, False]
    assert found[3] is not None
    assert found[3].detail == NO_LINE
