"""Thumbnails of new images are kept while somebody looks, the newest first, and nothing is done otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.console.thumbnails import MAX_WAITING, PER_SECOND, Gallery, ThumbnailCollector, digest_of
from eaves.errors import PlatformError
from tests.fakes.clock import ManualClock
from tests.fakes.console.backend import FakeRecords
from tests.fakes.console.material import build_flow, captured_event, classified_event, small_jpeg
from tests.waiting import wait_until


class CountedRecords(FakeRecords):
    """Counts how often it is read."""

    reads = 0

    def newest(self) -> int:
        self.reads += 1
        return super().newest()


class World:
    """A platform whose history and images a test sets, and the collector that follows it by a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.flow = build_flow(0)
        self.is_watched = True
        self.asked: list[tuple[str, str]] = []
        self.fault: Exception | None = None
        self.costs_s = 0.0
        self.records = CountedRecords(self.flow.records)
        self.gallery = Gallery(folder / "thumbnails.db", self._fetch, clock=self.clock)
        self.collector = ThumbnailCollector(
            self.records, self.gallery, watching=lambda: self.is_watched, clock=self.clock
        )

    def _fetch(self, source: str, event_id: str) -> bytes | None:
        self.asked.append((source, event_id))
        self.clock.turn(self.costs_s)
        if self.fault is not None:
            raise self.fault
        return self.flow.images.get((source, event_id))

    def send(self, number: int, *, data: bytes | None = None) -> None:
        event = captured_event(number, data=data)
        self.flow.add(event, at=self.clock.now())
        self.flow.add(classified_event(event), at=self.clock.now())

    def turn(self, seconds: float = 0.5) -> None:
        """Let time pass in steps, each after the collector has come to rest."""
        for _ in range(round(seconds / 0.05)):
            wait_until(lambda: self.clock.waiting, pause_s=0.0005)
            self.clock.turn(0.05)
        wait_until(lambda: self.clock.waiting, pause_s=0.0005)

    def kept(self) -> list[str]:
        """Names of the images whose thumbnails are kept, in the order in which they were made."""
        subjects = {one.identity: one.subject for one in self.flow.records}
        known = self.gallery.find([digest_of(*one) for one in self.asked])
        return [subjects[one] for one in self.asked if one in subjects and known.get(digest_of(*one))]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    if made.collector._thread.is_alive():
        made.collector.stop()


def test_the_images_that_are_still_held_are_kept_when_somebody_begins_to_look(world: World) -> None:
    for number in range(1, 6):
        world.send(number)
    del world.flow.images[world.flow.records[0].identity]
    world.collector.start()
    world.turn(1)
    assert world.kept() == ["frame-5.jpg", "frame-4.jpg", "frame-3.jpg", "frame-2.jpg"]


def test_nothing_is_read_while_nobody_looks(world: World) -> None:
    world.is_watched = False
    world.collector.start()
    world.send(1)
    world.turn(2)
    assert (world.asked, world.records.reads) == ([], 0)
    world.is_watched = True
    world.turn(1)
    assert world.kept() == ["frame-1.jpg"]


def test_of_a_flood_the_newest_images_are_kept_at_a_bounded_rate(world: World) -> None:
    world.collector.start()
    world.turn()
    picture = small_jpeg(width=16, height=16)
    for number in range(1, 1_001):
        world.send(number, data=picture)
    world.turn(1)
    kept = world.kept()
    assert 5 <= len(kept) <= PER_SECOND + 1
    assert kept == [f"frame-{1_001 - place}.jpg" for place in range(1, len(kept) + 1)]
    world.turn(MAX_WAITING / PER_SECOND + 1)
    assert len(world.kept()) == len(world.asked) == MAX_WAITING


def test_images_that_take_long_take_a_quarter_of_the_time(world: World) -> None:
    world.costs_s = 0.2
    world.collector.start()
    for number in range(1, 51):
        world.send(number)
    before = world.clock.monotonic()
    while len(world.asked) < 10:
        world.turn(0.05)
    assert 7 < world.clock.monotonic() - before < 9


def test_a_platform_that_can_not_be_asked_is_said_once_and_asked_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.fault = PlatformError("eaves up doesn't answer")
    world.collector.start()
    world.send(1)
    world.send(2)
    world.turn(12)
    assert caplog.text.count(f"an image got no thumbnail: {world.fault}") == 1
    world.fault = None
    world.send(3)
    world.turn(6)
    assert world.kept() == ["frame-3.jpg"]


def test_a_history_that_is_replaced_is_followed_from_its_beginning(world: World) -> None:
    world.collector.start()
    for number in range(1, 4):
        world.send(number)
    world.turn(1)
    world.flow.records.clear()
    world.send(9)
    world.turn(1)
    assert world.kept() == ["frame-9.jpg"]
