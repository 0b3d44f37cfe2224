"""The links of the experiment: what each is like, and what happens to it in the course of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.link.proxy import Link

SHORT = 0.4
"""Share of the time that the shortened experiment takes, so that all of it ends within 90 minutes."""

State = Literal["up", "down", "silent"]
"""`down`: the edge's own interface has no way out, so that a connection fails at once. `silent`: packets are swallowed
on the way, so that it fails only when somebody stops waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A link and its course.

    Attributes:
        name: In file names and of `LINKS=`.
        text: What it is, for people.
        link: Delay (one way), bandwidth (each direction) and loss (each direction, of packets).
        minutes: How long a whole run takes.
        course: Seconds and state in turn, again from the first; empty: always up.
        middle_down: Whether the middle third of the run is down, in place of a course.
    """

    name: str
    text: str
    link: Link
    minutes: float = 10.0
    course: tuple[tuple[float, State], ...] = ()
    middle_down: bool = False

    def run_minutes(self, *, full: bool) -> float:
        """Minutes of a whole run, or of a shortened one."""
        return self.minutes if full else self.minutes * SHORT

    def phases(self, seconds: float) -> list[tuple[float, State]]:
        """When each state begins, seconds from the start of a run of so many seconds."""
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
        name="lossy",
        text="as good, and 5 % of packets lost each way",
        link=Link(delay_ms=50, mbit_s=20, loss=0.05),
    ),
    Condition(name="flapping", text="as good, 10 s up, 20 s down", link=GOOD, course=((10.0, "up"), (20.0, "down"))),
    Condition(
        name="down", text="as good, down for the middle third of the run", link=GOOD, minutes=30.0, middle_down=True
    ),
    Condition(
        name="silent",
        text="as good, packets swallowed for 30 s of each minute",
        link=GOOD,
        course=((30.0, "up"), (30.0, "silent")),
    ),
)

ALONE = Condition(
    name="alone",
    text="as good, 20 s up, 20 s down",
    link=GOOD,
    course=((20.0, "up"), (20.0, "down")),
)
"""For the edge's arm alone, without kills: what the link's absence changes in a prediction, and nothing else does."""


def find(names: str) -> list[Condition]:
    """The conditions of a list of names, all for an empty one.

    Raises:
        ValueError: When there is no such link.
    """
    wanted = [name for name in names.replace(",", " ").split() if name]
    known = {one.name: one for one in CONDITIONS}
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"no link {unknown[0]!r}; there are {', '.join(known)}")
    return [known[name] for name in wanted] or list(CONDITIONS)
