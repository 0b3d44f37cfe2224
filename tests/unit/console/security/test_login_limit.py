"""The limit of failed logins."""

from __future__ import annotations

from eaves.console.logins import ATTEMPTS, REFILL_S, LoginLimit
from tests.fakes.clock import ManualClock


def test_there_are_a_few_attempts_and_then_one_every_half_minute() -> None:
    clock = ManualClock()
    limit = LoginLimit(clock)
    assert [limit.take("") for _ in range(ATTEMPTS + 1)] == [*[0] * ATTEMPTS, REFILL_S]
    assert limit.take("known") == 0
    clock.turn(REFILL_S - 0.5)
    assert limit.take("") == 1
    clock.turn(0.5)
    assert [limit.take("") for _ in range(2)] == [0, REFILL_S]
    clock.turn(REFILL_S * ATTEMPTS)
    limit.take("another")
    assert list(limit._full_at) == ["another"], "what is full again is forgotten"
