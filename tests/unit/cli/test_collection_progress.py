"""What `eaves init --from-source` says while it collects."""

from __future__ import annotations

import pytest

from eaves.cli.image_collection import LINE_S, STILL_S, CollectionProgress
from eaves.sources.agent.counters import SourceCounters
from eaves.sources.frame import Cause
from tests.fakes.clock import ManualClock


class Collection:
    """Progress of a collection of 20 images, and what it has said."""

    def __init__(self, kind: str = "http", *, lines: bool = False) -> None:
        self.clock = ManualClock()
        self.counters = SourceCounters(self.clock)
        self.reported: list[str] = []
        self._progress = CollectionProgress(
            "gate", 20, kind=kind, lines=lines, clock=self.clock, report=self.reported.append
        )
        self.counters.change_state("watching", "")
        self.update(0)

    def update(self, count: int, after_s: float = 0.0) -> list[str]:
        """What is said at the next look, some seconds later."""
        self.clock.turn(after_s)
        before = len(self.reported)
        self._progress.update(count, self.counters)
        return self.reported[before:]


def test_without_a_terminal_a_line_is_said_now_and_then() -> None:
    made = Collection(lines=True)

    assert made.update(3, LINE_S - 1) == []
    assert made.update(4, 1) == ["4 of 20 images collected"]
    assert made.update(5, LINE_S - 1) == []
    assert made.update(20) == ["20 of 20 images collected"]
    assert made.update(20) == []


def test_a_picture_that_stands_still_is_said_once_each_time() -> None:
    made = Collection()

    assert made.update(0, STILL_S - 1) == []
    assert made.update(0, 1) == ["gate: the picture hasn't changed for 30 s"]
    assert made.update(0, 10 * STILL_S) == []
    assert made.update(1) == []
    assert made.update(1, STILL_S) == ["gate: the picture hasn't changed for 30 s"]


@pytest.mark.parametrize(
    ("kind", "causes", "message"),
    [
        ("mqtt", ["duplicate", "unchanged"], "gate: the picture hasn't changed for 30 s"),
        ("mqtt", [], "gate: no new image for 30 s"),
        ("http", ["rate", "duplicate"], "gate: no new image for 30 s; images left out: duplicate 1, rate 1"),
    ],
)
def test_what_is_left_out_meanwhile_tells_why_there_is_nothing_new(
    kind: str, causes: list[Cause], message: str
) -> None:
    made = Collection(kind)
    made.counters.count_dropped("hours")
    made.update(1)
    for cause in causes:
        made.counters.count_dropped(cause)

    assert made.update(1, STILL_S) == [message]


def test_a_source_that_waits_has_said_so_itself() -> None:
    made = Collection()
    made.counters.change_state("waiting", "no connection")

    assert made.update(0, STILL_S) == []
    made.counters.change_state("watching", "")
    assert made.update(0, 1) == []
    assert made.update(0, STILL_S) == ["gate: the picture hasn't changed for 30 s"]
