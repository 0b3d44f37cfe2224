"""Another thread reads the deliveries of sinks while sinks are added and removed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from eaves.delivery import SinkResponse
from eaves.events import IMAGE_CAPTURED, Event
from eaves.local.broker import Broker, DeadLetterSink, Subscription, lane_of
from eaves.platform import TriggerSpec
from eaves.spool import Spool

SINKS, ROUNDS = 8, 6


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def accept(_: Event, __: Mapping[str, str]) -> SinkResponse:
    return SinkResponse(status=202)


def subscriptions() -> dict[str, Subscription]:
    target = TriggerSpec(name="dead", url="http://dead.test/")
    sink = DeadLetterSink(target=target, send=accept, give_address=str)
    triggers = [TriggerSpec(name=f"t{number}", filter={"type": IMAGE_CAPTURED}) for number in range(SINKS)]
    return {
        lane_of("app", trigger.name): Subscription(app="app", trigger=trigger, send=accept, parallel=1, sink=sink)
        for trigger in triggers
    }


@pytest.mark.usefixtures("hasty_threads")
def test_deliveries_are_reported_while_sinks_come_and_go(tmp_path: Path) -> None:
    done = threading.Event()
    failures: list[RuntimeError] = []

    def look(broker: Broker) -> None:
        while not done.is_set() and not failures:
            try:
                broker.deliveries()
            except RuntimeError as error:  # a dictionary that changed while it was read
                failures.append(error)

    with Spool(tmp_path / "spool.db") as spool:
        broker = Broker(spool, lambda event: None)
        onlooker = threading.Thread(target=look, args=(broker,))
        onlooker.start()
        try:
            for _ in range(ROUNDS):
                broker.subscribe(subscriptions())
                broker.subscribe({})
        finally:
            done.set()
            onlooker.join()
            broker.stop()
    assert failures == []
