"""How often all discovery messages are sent to Home Assistant again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from eaves.delivery.mqtt.broker_link import PAUSE_S, DiscoveryPublisher
from eaves.mqtt import Acknowledgement
from tests.fakes.clock import ManualClock
from tests.waiting import wait_until

Batch = list[Future[Acknowledgement]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def reported() -> list[Batch]:
    return []


@pytest.fixture
def teller(clock: ManualClock, reported: list[Batch]) -> Iterator[DiscoveryPublisher]:
    """Tells batches of three messages."""

    def tell() -> Batch:
        reported.append([Future() for _ in range(3)])
        return reported[-1]

    made = DiscoveryPublisher(tell, clock=clock)
    made.start()
    yield made
    made.stop()
    wait_until(lambda: not made.is_alive(), what="the teller's end")


def acknowledge(batch: Batch) -> None:
    for one in batch:
        one.set_result(Acknowledgement(code=0, name="success"))


def wait_for(reported: list[Batch], clock: ManualClock, count: int) -> None:
    """Wait for so many batches, and until the teller waits for more to do."""
    wait_until(lambda: len(reported) == count and (clock.next_due_s() or 0) > 0, what=f"{count} batches")


def test_many_requests_are_one_telling_in_ten_seconds(
    teller: DiscoveryPublisher, clock: ManualClock, reported: list[Batch]
) -> None:
    teller.request()
    wait_for(reported, clock, 1)
    acknowledge(reported[0])
    for _ in range(3000):
        teller.request()
    wait_for(reported, clock, 1)
    clock.turn(PAUSE_S - 1)
    wait_for(reported, clock, 1)
    clock.turn(1)
    wait_for(reported, clock, 2)
    acknowledge(reported[1])
    clock.turn(10 * PAUSE_S)
    wait_for(reported, clock, 2)


def test_nothing_is_reported_while_an_answer_is_missing(
    teller: DiscoveryPublisher, clock: ManualClock, reported: list[Batch]
) -> None:
    teller.request(at_once=True)
    wait_for(reported, clock, 1)
    acknowledge(reported[0][:2])
    teller.request(at_once=True)
    clock.turn(100 * PAUSE_S)
    wait_for(reported, clock, 1)
    acknowledge(reported[0][2:])
    wait_for(reported, clock, 2)


def test_a_new_connection_is_reported_without_a_pause(
    teller: DiscoveryPublisher, clock: ManualClock, reported: list[Batch]
) -> None:
    teller.request()
    wait_for(reported, clock, 1)
    acknowledge(reported[0])
    teller.request(at_once=True)
    wait_for(reported, clock, 2)


def test_a_request_after_a_new_connection_is_answered_at_once(
    teller: DiscoveryPublisher, clock: ManualClock, reported: list[Batch]
) -> None:
    teller.request(at_once=True)
    wait_for(reported, clock, 1)
    acknowledge(reported[0])
    teller.request()
    wait_for(reported, clock, 2)
