"""The polling helper itself: a broken one would make every other test pass or hang."""

from __future__ import annotations

import pytest

from tests.waiting import wait_until


def test_returns_the_first_true_value() -> None:
    values = iter([0, "", "there"])
    assert wait_until(lambda: next(values), pause_s=0) == "there"


def test_fails_at_the_deadline_with_what_was_seen() -> None:
    with pytest.raises(AssertionError, match=r"waited 0.02 s in vain for the queue; last seen: \[\]"):
        wait_until(list, 0.02, what="the queue")
