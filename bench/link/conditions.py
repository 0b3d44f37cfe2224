"""Defines the links that the experiment compares: delay, bandwidth, and the times at which each is up or down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.link.proxy import Link

State = Literal["up", "down", "silent"]
"""State of a link. `down`: the edge has no route, so a connection fails at once. `silent`: packets are dropped on the
way, so a connection fails only at its time limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One link of the experiment, with the times at which it is up or down during a measurement.

    Attributes:
        name: Name of the link, as in file names and in `LINKS=` of the Makefile.
        text: Description of the link in the tables.
        link: Delay (one way) and bandwidth (per direction).
        course: Pairs of seconds and state that the link goes through again and again; empty: always up.
        middle_down: Whether the link is down for the middle third of the measurement; `course` is then ignored.
    """

    name: str
    text: str
    link: Link
    course: tuple[tuple[float, State], ...] = ()
    middle_down: bool = False

    def phases(self, seconds: float) -> list[tuple[float, State]]:
        """Return the link's changes of state during a measurement: seconds from the start, and the new state."""
        if self.middle_down:
            return [(0.0, "up"), (seconds / 3, "down"), (seconds * 2 / 3, "up")]
        found: list[tuple[float, State]] = []
        at, turn = 0.0, self.course or ((seconds, "up"),)
        while at < seconds:
            for length, state in turn:
                found.append((at, state))
                at += length
        return [one for one in found if one[0] < seconds]


GOOD = Link(delay_ms=50, mbit_s=20)
CONDITIONS = (
    Condition(name="good", text="50 ms one way, 20 Mbit/s", link=GOOD),
    Condition(name="slow", text="150 ms one way, 1 Mbit/s", link=Link(delay_ms=150, mbit_s=1)),
    Condition(
        name="flapping", text="like `good`, 10 s up, 20 s down", link=GOOD, course=((10.0, "up"), (20.0, "down"))
    ),
    Condition(name="down", text="like `good`, down for the middle third of the run", link=GOOD, middle_down=True),
)


def find(names: str) -> list[Condition]:
    """Return the links with the given names, separated by commas or spaces; all links for an empty text.

    Raises:
        ValueError: When there is no link with one of the names.
    """
    wanted = names.replace(",", " ").split()
    known = {one.name: one for one in CONDITIONS}
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"no link {unknown[0]!r} (known links: {', '.join(known)})")
    return [known[name] for name in wanted] or list(CONDITIONS)
