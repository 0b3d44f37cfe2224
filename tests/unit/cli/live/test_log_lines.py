"""New lines of a log are recognised by comparing its end with that of the last reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from eaves.cli.live.log_lines import find_new, follow_tail
from eaves.errors import EavesError, NotFoundError, PlatformError


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ([], [], []),
        ([], ["a"], ["a"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["b", "c"], ["c"]),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        (["a", "a"], ["a", "a", "a"], ["a"]),
        (["x", "a", "b", "a"], ["a", "b", "a", "c"], ["c"]),
    ],
)
def test_lines_that_were_not_there_are_new(before: list[str], now: list[str], new: list[str]) -> None:
    assert list(find_new(before, now)) == new


def take(steps: Iterator[Sequence[str] | EavesError]) -> list[str]:
    found = next(steps)
    assert not isinstance(found, EavesError)
    return list(found)


def test_a_log_that_is_away_for_a_while_continues_with_its_new_lines() -> None:
    answers: list[list[str] | EavesError] = [
        ["a", "b", "c"], ["b", "c", "d"], NotFoundError("at zero"), PlatformError("no answer"), ["c", "d", "e"], ["f"],
    ]  # fmt: skip

    def read(lines: int) -> list[str]:
        assert lines >= 2
        answer = answers.pop(0)
        if isinstance(answer, EavesError):
            raise answer
        return answer

    steps = follow_tail(read, 2)
    assert take(steps) == ["b", "c"]
    assert take(steps) == ["d"]
    assert take(steps) == []
    assert isinstance(next(steps), PlatformError)
    assert take(steps) == ["e"]
    assert take(steps) == ["f"]


def test_a_log_that_is_not_there_at_first_is_an_error() -> None:
    def read(lines: int) -> list[str]:
        raise NotFoundError("no such function")

    with pytest.raises(NotFoundError):
        next(follow_tail(read, 2))
