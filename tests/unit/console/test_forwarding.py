"""What the relay says of one event, in words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from eaves.admin import Queue
from eaves.admin.client import SocketQueue
from eaves.admin.queue import SpoolQueue
from eaves.admin.routes import answer
from eaves.admin.server import AdminServer
from eaves.console.model.forwarding import NO_LINE, find_forwarding
from eaves.spool import LedgerLimits, Spool
from tests.fakes.clock import START, ManualClock
from tests.fakes.console.material import build_flow

FLOW = build_flow(4, with_images=False)
PREDICTIONS = FLOW.records[1::2]


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
        first, second, _ = spool.peek("out", limit=9, now=clock.now())
        spool.ack(first)
        spool.dead_letter(second, "answered 403: not this site", 403)
        yield spool


@pytest.fixture(params=["in this process", "behind a socket"])
def queues(request: pytest.FixtureRequest, relay: Spool, tmp_path: Path) -> Iterator[dict[str, Queue]]:
    with Spool(tmp_path / "broker.db") as broker:
        found: dict[str, Spool] = {"broker": broker, "flowers.relay": relay}
        if request.param == "in this process":
            yield {name: SpoolQueue(spool) for name, spool in found.items()}
            return
        paths = {name: tmp_path / name / "socket" for name in found}
        servers = [AdminServer(partial(answer, SpoolQueue(found[name])), path=path) for name, path in paths.items()]
        yield {name: SocketQueue(path) for name, path in paths.items()}
        for server in servers:
            server.stop()


def test_each_state_of_an_event_is_said(queues: dict[str, Queue]) -> None:
    found = [find_forwarding(queues, record) for record in PREDICTIONS]
    assert [(one.state, one.queue) for one in found] == [
        ("delivered", "flowers.relay"),
        ("refused", "flowers.relay"),
        ("waiting", "flowers.relay"),
        ("unknown", ""),
    ]
    assert found[2].since == START
    assert [one.since is not None and one.since > START for one in found] == [True, True, False, False]
    assert [one.words for one in found] == [
        "delivered to the cloud",
        "refused by the cloud: answered 403: not this site",
        "waiting in the relay's queue",
        f"unknown: {NO_LINE}",
    ]


def test_a_platform_without_a_relay_has_no_link(tmp_path: Path) -> None:
    with Spool(tmp_path / "broker.db") as broker:
        found = find_forwarding({"broker": SpoolQueue(broker)}, PREDICTIONS[0])
        assert found.words == "not forwarded: no link to a cloud is set up"
    assert find_forwarding({}, PREDICTIONS[0]).state == "no_link"


def test_a_relay_that_does_not_run_is_no_reason_to_claim_anything(tmp_path: Path) -> None:
    found = find_forwarding({"flowers.relay": SocketQueue(tmp_path / "socket")}, PREDICTIONS[0])
    assert found.state == "unknown"
    assert "flowers.relay can't be asked: no process listens" in found.words


def test_a_queue_is_asked_for_exactly_one_event(relay: Spool) -> None:
    ask = partial(answer, SpoolQueue(relay), "GET", "/queues/ledger/event")
    assert ask("source=/eaves/mill/flowers&id=none").body == b'{"line": null}'
    for query in ("", "source=a", "source=a&id=", "source=a&id=b&limit=1"):
        assert ask(query).status == 400
