"""An answer of the platform serves all who ask within some seconds."""

from __future__ import annotations

from eaves.console.backend import ReusedAnswer
from tests.fakes.clock import ManualClock


def test_a_slow_answer_serves_those_who_have_waited_for_it() -> None:
    clock, asked = ManualClock(), []

    def ask() -> int:
        asked.append(clock.monotonic())
        clock.turn(3.0)  # a platform that takes longer to answer than its answer is used again
        return len(asked)

    answer = ReusedAnswer(ask, 1.0, clock)
    assert [answer.get() for _ in range(50)] == [1] * 50
    clock.turn(1.0)
    assert answer.get() == 2
    answer.forget()
    assert answer.get() == 3
