"""The lines that a log gains, for platforms that can only show the end of a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from eaves.errors import EavesError, NotFoundError

WINDOW = 1_000
"""Lines asked for at each look, unless more are wanted at first; more that come between two looks are not shown."""


def follow_tail(read: Callable[[int], Sequence[str]], lines: int) -> Iterator[Sequence[str] | EavesError]:
    """Give the last lines, and then at each step those that came since the one before, or why none can be read.

    Args:
        read: Returns the last lines of a log, as many as it is asked for.
        lines: Number of lines of the first step.

    Raises:
        EavesError: From the first step, when the log can't be read at all.
    """
    window = max(WINDOW, lines)
    before = list(read(window))
    yield before[-lines:] if lines else []
    while True:
        try:
            found = list(read(window))
        except NotFoundError:  # at zero, or being started anew: the lines of another replica come later
            yield []
            continue
        except EavesError as error:
            yield error
            continue
        yield find_new(before, found)
        before = found or before


def find_new(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """Return the lines of the end of a log that weren't there at the look before.

    Args:
        before: End of the log at the look before.
        now: End of the log now; when it has no line of the one before, all of it is new.
    """
    for size in range(min(len(before), len(now)), 0, -1):
        if before[-1] == now[size - 1] and list(before[-size:]) == list(now[:size]):
            return now[size:]
    return now
