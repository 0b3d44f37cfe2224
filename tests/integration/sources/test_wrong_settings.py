"""A setting that drops every image for an error: the source says so, and a correction brings the images."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eaves.events import Event
from eaves.plugins.replay import ReplaySource, ReplaySourceSettings
from eaves.sources.agent.context import AgentContext
from eaves.sources.agent.counters import SourceCounters
from eaves.sources.folder.source import FolderSource, FolderSourceSettings
from eaves.sources.options import FrameOptions
from eaves.spool import Spool
from tests.inputs.hostile import encode
from tests.inputs.pictures import picture
from tests.waiting import wait_until

IMAGE = encode(picture(40, 30), "PNG")
"""40x30 pixels."""
COUNT = 12
RIGHT, WRONG = FrameOptions(crop=(0, 0, 20, 20)), FrameOptions(crop=(90, 90, 10, 10))


@dataclass
class Place:
    """A source of some kind and the place of its images."""

    folder: Path
    make: Callable[[AgentContext], Any]
    write: Callable[[str], object] = lambda name: None

    @contextmanager
    def running(self, options: FrameOptions, **values: Any) -> Iterator[tuple[SourceCounters, list[str]]]:
        """Run the source on its spool, as a new process would; yield its counters and the subjects of its events."""
        spool, subjects = Spool(self.folder / "agent.db"), list[str]()

        def store(event: Event) -> bool:
            subjects.append(event.subject or "")
            return spool.put(event, lanes=("images",), once=True)

        context = AgentContext(
            "gate",
            site="test",
            index=spool,
            store=store,
            spool_max_bytes=1 << 30,
            options=options,
            **{"max_bytes": 20_000_000, **values},
        )
        thread = threading.Thread(target=self.make(context).run)
        thread.start()
        try:
            yield context.counters, subjects
        finally:
            context.stop()
            thread.join(20)
            spool.close()
            assert not thread.is_alive()


@pytest.fixture(params=["folder", "replay"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    make: Callable[[AgentContext], Any] = partial(ReplaySource, ReplaySourceSettings(path=inbox, every_s=0))
    if request.param == "folder":
        make = partial(FolderSource, FolderSourceSettings(path=inbox, settle_s=0.0, polling=True, poll_s=0.1))
    return fill(Place(tmp_path, make, lambda name: (inbox / name).write_bytes(IMAGE)))


def fill(place: Place) -> Place:
    for number in range(COUNT):
        place.write(f"{number:02}.png")
    return place


def test_images_that_a_wrong_setting_drops_come_after_its_correction(place: Place):
    count = COUNT
    with place.running(WRONG) as (counters, subjects):
        wait_until(lambda: sum(counters.dropped.values()) >= COUNT, 20, what="dropped images")
        wait_until(lambda: counters.reason.startswith("every image was dropped: "), 20, what="the reason")
        assert counters.state in {"waiting", "finished"}
        if counters.state == "waiting":
            place.write("more.png")
            count += 1
            wait_until(lambda: sum(counters.dropped.values()) >= count, 20, what="another pass over the images")
    assert (counters.dropped, subjects) == ({"unsupported": count}, [])
    with place.running(RIGHT) as (counters, subjects):
        wait_until(lambda: len(subjects) == count, 20, what="the images")
        wait_until(lambda: counters.state in {"watching", "finished"}, 20, what="the state")
        assert "dropped" not in counters.reason


def test_images_that_an_option_leaves_out_stay_left_out_until_the_option_changes(place: Place):
    options = FrameOptions(unchanged=1.0)
    with place.running(options) as (counters, subjects):
        wait_until(lambda: sum(counters.dropped.values()) == COUNT - 1, 20, what="dropped images")
    assert (len(subjects), counters.dropped) == (1, {"unchanged": COUNT - 1})
    place.write("more.png")
    with place.running(options) as (counters, subjects):
        wait_until(lambda: subjects, 20, what="the new image")
    assert (subjects, counters.dropped) == (["more.png"], {})
    with place.running(RIGHT) as (counters, subjects):
        wait_until(lambda: len(subjects) == COUNT - 1, 20, what="the images that were left out")
