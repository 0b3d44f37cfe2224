"""Search for the lines that are added to a log, for platforms whose API only returns the end of a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from eaves.errors import EavesError, NotFoundError

WINDOW = 1_000
"""Minimum number of lines that each step requests. Lines are lost when more than this are added between two steps."""


def follow_tail(read: Callable[[int], Sequence[str]], lines: int) -> Iterator[Sequence[str] | EavesError]:
    """Yield the last lines of a log, then at each step the lines that are new, or the error when none can be read.

    Args:
        read: Returns the given number of last lines of a log.
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
    """Return the lines at the end of a log that are new since the last reading.

    Args:
        before: End of the log at the last reading.
        now: End of the log now; all of it is new when it has no line in common with `before`.
    """
    for size in range(min(len(before), len(now)), 0, -1):
        if before[-1] == now[size - 1] and list(before[-size:]) == list(now[:size]):
            return now[size:]
    return now
