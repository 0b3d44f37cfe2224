"""The news of the first screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from flask import Flask

from eaves.admin.report import SourceReport
from eaves.admin.summary import AgentStatus
from eaves.console.app import create_app
from eaves.console.context import ConsoleContext
from eaves.console.settings import ConsoleSettings
from eaves.console.stream.feed import MAX_CATCH_UP
from eaves.console.views.overview_feed import MAX_NEW, OverviewFeed
from eaves.errors import PlatformError
from eaves.platform import FunctionStatus
from tests.fakes.clock import START, ManualClock
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.material import build_flow, captured_event, record_of

REPORT = SourceReport(name="camera-1", state="watching", last_captured_at=START)


@dataclass(kw_only=True)
class Page:
    """A feed with its backend and clock."""

    backend: FakeBackend
    clock: ManualClock
    feed: OverviewFeed

    def report(self, *reports: SourceReport) -> None:
        """Set the reports of the sources."""
        agent = AgentStatus(name="flowers", state="running", sources=reports)
        self.backend.functions = [FunctionStatus(name="flowers", state="ready", site="mill", agents=(agent,))]

    def add(self, count: int) -> None:
        """Add images with their predictions."""
        for record in build_flow(count, sources=["camera-1"], with_images=False).records:
            seq = self.backend.records.newest() + 1
            self.backend.records.kept.append(replace(record, seq=seq, id=f"{record.id}-{seq}"))


@pytest.fixture
def page() -> Iterator[Page]:
    backend, clock = FakeBackend(), ManualClock(START)
    context = ConsoleContext(backend=backend, settings=ConsoleSettings(), clock=clock)
    app: Flask = create_app(context)
    found = Page(backend=backend, clock=clock, feed=OverviewFeed(context))
    found.report(REPORT)
    with app.test_request_context():
        yield found


def rows_in(html: str) -> list[int]:
    return [int(seq) for seq in re.findall(r'id="event-(\d+)"', html)]


def test_a_new_image_is_one_row_and_its_tile(page: Page) -> None:
    page.add(1)
    page.feed.poll(0)
    page.add(1)
    page.clock.turn(2)
    rows, state = page.feed.poll(2)
    assert (rows_in(rows.data), rows.id) == ([4], 4)
    assert 'hx-target="#newest" hx-swap="afterbegin"' in rows.data
    assert re.search(r'hx-target="#tile-[0-9a-f]{10}"', state.data)
    assert state.id == 0
    assert "#headline" not in state.data
    assert page.feed.newest() == 4


def test_nothing_new_is_no_message(page: Page) -> None:
    page.add(1)
    page.feed.poll(0)
    for _ in range(90):
        page.clock.turn(1)
        assert page.feed.poll(2) == []


def test_a_burst_is_counted(page: Page) -> None:
    page.add(100)
    (message,) = page.feed.poll(0)
    assert rows_in(message.data) == list(range(200, 200 - 2 * MAX_NEW, -2))
    assert "80 more images in the same moment" in message.data
    assert message.id == 200


def test_an_image_without_an_answer_moves_the_position_only(page: Page) -> None:
    page.feed.poll(0)
    page.backend.records.kept.append(record_of(captured_event(), 1))
    assert [(one.data, one.id) for one in page.feed.poll(0)] == [("", 1)]


def test_a_source_that_falls_silent_changes_tile_and_headline(page: Page) -> None:
    page.feed.poll(0)
    page.report(replace(REPORT, state="waiting", reason="no route", last_error="no route", last_error_age_s=0.0))
    page.clock.turn(1)
    (message,) = page.feed.poll(0)
    assert "needs attention" in message.data
    assert "No route." in message.data
    assert 'hx-target="#tiles"' not in message.data


def test_a_new_source_replaces_the_grid(page: Page) -> None:
    page.feed.poll(0)
    page.report(REPORT, replace(REPORT, name="camera-2"))
    page.clock.turn(1)
    (message,) = page.feed.poll(0)
    assert message.data.count('hx-target="#tiles"') == 1


def test_the_state_is_read_once_a_second(page: Page) -> None:
    page.feed.poll(0)
    page.report(replace(REPORT, state="hung"))
    assert page.feed.poll(0) == []
    page.clock.turn(1)
    assert len(page.feed.poll(0)) == 1


def test_a_client_that_returns_gets_what_it_missed(page: Page) -> None:
    page.add(5)
    messages = page.feed.catch_up(4, 8)
    assert messages is not None
    (message,) = messages
    assert (rows_in(message.data), message.id) == ([8, 6], 8)
    for part in ("#headline", "#tiles", "#links"):
        assert f'hx-target="{part}"' in message.data


def test_a_client_that_returns_takes_no_change_from_open_ones(page: Page) -> None:
    page.feed.poll(0)
    page.report(replace(REPORT, state="failing", reason="the folder is gone"))
    page.feed.catch_up(0, 0)
    page.clock.turn(1)
    (message,) = page.feed.poll(0)
    assert "the folder is gone" in message.data


def test_a_client_that_missed_too_much_loads_the_page(page: Page) -> None:
    page.add(MAX_CATCH_UP)
    assert page.feed.catch_up(0, 2 * MAX_CATCH_UP) is None
    assert page.feed.catch_up(MAX_CATCH_UP, 2 * MAX_CATCH_UP) is not None


class BrokenBackend(FakeBackend):
    """A platform that can't be asked for its status."""

    def status(self) -> list[FunctionStatus]:
        raise PlatformError("<b>nobody</b> answers")


def test_a_platform_that_does_not_answer_is_the_headline() -> None:
    clock = ManualClock(START)
    context = ConsoleContext(backend=BrokenBackend(), settings=ConsoleSettings(), clock=clock)
    with create_app(context).test_request_context():
        messages = OverviewFeed(context).catch_up(0, 0)
    assert messages is not None
    assert "The platform can&#39;t be asked: &lt;b&gt;nobody&lt;/b&gt; answers." in messages[0].data
