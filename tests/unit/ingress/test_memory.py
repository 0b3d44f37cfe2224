"""A bound on the memory of all bodies, within which one request at least gets on."""

from __future__ import annotations

import threading
import time

import pytest

from eaves.errors import OverloadedError
from eaves.ingress.memory import WAIT_S, MemoryBudget
from tests.waiting import wait_until


def test_the_first_that_needs_more_waits_and_the_others_make_room() -> None:
    budget = MemoryBudget(100)
    done = threading.Event()
    with budget.share() as second:
        second(50)

        def first_request() -> None:
            with budget.share() as first:
                first(50)
                first(50)
                done.set()

        thread = threading.Thread(target=first_request)
        thread.start()
        wait_until(lambda: budget._waiting is not None)
        with pytest.raises(OverloadedError):
            second(1)
        assert not done.is_set(), "it is refused at once, as another one waits"
    thread.join(10)
    assert done.is_set()


def test_who_waits_in_vain_is_refused() -> None:
    budget = MemoryBudget(100, name="relay")
    with budget.share() as holding, budget.share() as waiting:
        holding(100)
        began = time.monotonic()
        with pytest.raises(
            OverloadedError,
            match="the relay has reached its limit: 0 MB of other requests are in memory; send again later",
        ):
            waiting(5)
        assert WAIT_S <= time.monotonic() - began < WAIT_S + 20
    assert budget.taken_bytes == 0


def test_an_owner_has_half_of_it_and_waits_for_nothing_but_its_own() -> None:
    budget = MemoryBudget(1_000)
    with budget.share("mill") as one, budget.share("mill") as two, budget.share("barn") as other:
        one(300)
        two(200)
        with pytest.raises(OverloadedError, match="requests from mill"):
            two(100)
        other(500)
        assert budget.taken_bytes == 1_000
    with budget.share("mill") as one:
        one(500)
