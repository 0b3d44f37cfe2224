"""The limit of failed logins."""

from __future__ import annotations

import pytest

from eaves.console.security.logins import (
    MAX_ADDRESSES,
    PER_ADDRESS,
    PER_ADDRESS_REFILL_S,
    LoginLimit,
)
from tests.fakes.clock import ManualClock


def use_up(limit: LoginLimit, address: str) -> int:
    taken = 0
    while not limit.take(address):
        taken += 1
    return taken


def test_an_address_has_a_few_attempts_and_then_one_every_half_minute() -> None:
    clock = ManualClock()
    limit = LoginLimit(clock)
    assert use_up(limit, "10.0.0.5") == PER_ADDRESS
    assert limit.take("10.0.0.5") == PER_ADDRESS_REFILL_S
    assert limit.take("10.0.0.6") == 0
    clock.turn(PER_ADDRESS_REFILL_S - 0.5)
    assert limit.take("10.0.0.5") == 1
    clock.turn(0.5)
    assert use_up(limit, "10.0.0.5") == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2001:db8::1", "2001:db8::ffff:2"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
    ],
)
def test_addresses_of_one_machine_count_together(first: str, second: str) -> None:
    limit = LoginLimit(ManualClock())
    use_up(limit, first)
    assert limit.take(second) > 0


def test_the_memory_is_bounded() -> None:
    limit = LoginLimit(ManualClock())
    for number in range(3 * MAX_ADDRESSES):
        limit.take(f"10.{number // 65_536}.{number // 256 % 256}.{number % 256}")
    assert len(limit._full_at) == MAX_ADDRESSES
