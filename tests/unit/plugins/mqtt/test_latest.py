"""The newest event of each key is the one that stays."""

from __future__ import annotations

import pytest

from eaves.events import Event
from eaves.plugins.mqtt.encoding import LATE_S, NewestEvents
from tests.fakes.clock import ManualClock


def at(second: int, time: str | None = "") -> Event:
    return Event(id="1", source="/s", type="t", time=f"2026-11-25T12:00:{second:02}Z" if time == "" else time)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def latest(clock: ManualClock) -> NewestEvents:
    return NewestEvents(clock)


def test_an_older_event_is_not_taken(latest: NewestEvents) -> None:
    assert latest.accept("a", at(5))
    assert not latest.accept("a", at(4))
    assert latest.accept("a", at(5))
    assert latest.accept("a", at(6))
    assert latest.accept("b", at(1))


def test_an_older_event_is_taken_once_the_newer_one_is_long_ago(latest: NewestEvents, clock: ManualClock) -> None:
    assert latest.accept("a", at(5))
    clock.turn(LATE_S + 1)
    assert latest.accept("a", at(4))
    assert not latest.accept("a", at(3))


@pytest.mark.parametrize("time", [None, "yesterday"])
def test_an_event_without_a_usable_time_is_taken(latest: NewestEvents, time: str | None) -> None:
    assert latest.accept("a", at(5))
    assert latest.accept("a", at(0, time))
