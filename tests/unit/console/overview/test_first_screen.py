"""The first screen and its polls: what it shows, what it costs, and when it is another screen."""

import re
from dataclasses import dataclass

import pytest

from eaves.admin.report import QueueReport, SourceReport
from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext
from eaves.console.exposure import ConsoleSettings
from eaves.history import Record, RecordFilter
from eaves.platform import FunctionStatus
from tests.fakes.clock import START, ManualClock
from tests.fakes.console.backend import FakeBackend, FakeRecords
from tests.fakes.console.browser import Browser
from tests.fakes.console.material import build_flow, captured_event, record_of, rejected_event


class CountedRecords(FakeRecords):
    """Counts the queries for the newest answers."""

    of_all = 0

    def find(self, wanted: RecordFilter, *, before: int | None = None, limit: int = 50) -> list[Record]:
        self.of_all += not wanted.source
        return [*super().find(wanted, before=before, limit=limit)]


@dataclass
class Screen:
    """The first screen of a platform, and its clock."""

    records: CountedRecords
    backend: FakeBackend
    clock: ManualClock
    browser: Browser

    def show(self, *, age_s: float, sources: tuple[str, ...] = ("camera-1",)) -> None:
        """Let sources send images regularly until some time ago."""
        count = 8 * len(sources)
        first_at = self.clock.now() - age_s - 2.0 * (count - 1) - 0.03
        build_flow(count, sources=sources, first_at=first_at).put_into(self.backend)
        reports = tuple(SourceReport(name=name, state="watching") for name in sources)
        agent = QueueReport(name="flowers", state="running", sources=reports)
        self.backend.functions = [FunctionStatus(name="flowers", state="ready", site="mill", agents=(agent,))]

    def poll(self, tag: str = "") -> tuple[int, str, str]:
        """Ask as an open page does; return the status, the ETag and the screen."""
        answer = self.browser.fetch("/parts/overview", **({"If_None_Match": tag} if tag else {}))
        return answer.status_code, answer.headers["ETag"], answer.text


@pytest.fixture
def screen() -> Screen:
    records, clock = CountedRecords(), ManualClock(START)
    backend = FakeBackend(records=records)
    context = ConsoleContext(backend=backend, clock=clock, settings=ConsoleSettings(silent_after_s=600.0))
    return Screen(records, backend, clock, Browser(create_app(context)))


def test_the_page_and_its_polls_have_the_same_screen(screen: Screen):
    screen.show(age_s=1)
    page, (_, _, part) = screen.browser.open("/").text, screen.poll()
    assert part in page
    assert 'hx-get="/parts/overview" hx-trigger="every 2s"' in page
    assert "<html" not in part
    assert re.findall(r'id="event-(\d+)"', part) == [str(seq) for seq in range(16, 0, -2)]


def test_a_poll_without_news_is_answered_with_304(screen: Screen):
    screen.show(age_s=1)
    _, tag, _ = screen.poll()
    screen.clock.turn(60)  # ages alone are no news: the page keeps them current
    status, _, text = screen.poll(tag)
    assert (status, text) == (304, "")
    new = captured_event(99, source="camera-1")
    screen.backend.records.kept.append(record_of(rejected_event(new), 17, at=screen.clock.now()))
    screen.clock.turn(0.25)
    status, after, text = screen.poll(tag)
    assert (status, after != tag, 'id="event-17"' in text) == (200, True, True)
    assert screen.poll(f"W/{after}")[0] == 304  # a compressed answer has a weak tag


def test_many_viewers_cost_as_much_as_one(screen: Screen):
    screen.show(age_s=1)
    for _ in range(50):
        screen.poll()
    assert screen.records.of_all == 1


def test_a_camera_that_stopped_is_silent_after_the_time_of_the_settings(screen: Screen):
    screen.show(age_s=700, sources=("camera-1", "camera-2"))
    assert "2 of 2 sources need attention." in screen.poll()[2]
