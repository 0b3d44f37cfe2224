"""What the first screen reads: the newest images, and which sources have a rhythm."""

from __future__ import annotations

from eaves.admin.report import SourceReport
from eaves.admin.summary import AgentStatus
from eaves.console.context import ConsoleContext
from eaves.console.first_screen import LOOKUPS, FirstScreen, find_rhythm
from eaves.console.settings import ConsoleSettings
from eaves.history import Record, RecordFilter
from eaves.platform import FunctionStatus
from tests.fakes.clock import START, FrozenClock
from tests.fakes.console.backend import FakeBackend, FakeRecords
from tests.fakes.console.material import build_flow, captured_event, record_of


def records_at(*times: float) -> list[Record]:
    return [record_of(captured_event(number), number, at=at) for number, at in reversed([*enumerate(times, start=1)])]


def test_regular_images_have_a_rhythm() -> None:
    assert find_rhythm(records_at(0, 10, 20, 31, 40, 50)) == 10


def test_images_by_chance_have_none() -> None:
    assert find_rhythm(records_at(0, 10, 20, 400, 410, 420)) is None
    assert find_rhythm(records_at(0, 10, 20, 30, 40)) is None
    assert find_rhythm(records_at(5, 5, 5, 5, 5, 5)) is None


class CountedRecords(FakeRecords):
    """Counts the queries for one source."""

    asked = 0

    def find(self, wanted: RecordFilter, *, before: int | None = None, limit: int = 50) -> list[Record]:
        self.asked += bool(wanted.source)
        return [*super().find(wanted, before=before, limit=limit)]


def screen_of(sources: list[str], *, age_s: float) -> tuple[FirstScreen, CountedRecords]:
    records = CountedRecords()
    backend = FakeBackend(records=records)
    count = 8 * len(sources)
    build_flow(count, sources=sources, first_at=START - age_s - 2 * count, with_images=False).put_into(backend)
    reports = tuple(SourceReport(name=name, state="watching") for name in sources)
    agent = AgentStatus(name="flowers", state="running", sources=reports)
    backend.functions = [FunctionStatus(name="flowers", state="ready", site="mill", agents=(agent,))]
    context = ConsoleContext(backend=backend, settings=ConsoleSettings(), clock=FrozenClock(START))
    return FirstScreen(context), records


def test_a_camera_that_stopped_is_silent() -> None:
    screen, _ = screen_of(["camera-1"], age_s=700)
    (tile,) = screen.read().tiles
    assert (tile.state, tile.detail) == ("silent", "Its images came regularly until then.")
    assert tile.last is not None
    assert tile.last.is_label


def test_a_rhythm_is_looked_up_once() -> None:
    screen, records = screen_of(["camera-1", "camera-2"], age_s=700)
    screen.read()
    screen.read()
    assert records.asked == 2


def test_sources_that_send_cost_no_query() -> None:
    screen, records = screen_of(["camera-1"], age_s=30)
    assert screen.read().tiles[0].state == "ok"
    assert records.asked == 0


def test_many_silent_sources_are_looked_up_in_turn() -> None:
    screen, records = screen_of([f"camera-{number}" for number in range(LOOKUPS + 5)], age_s=3_600)
    screen.read()
    assert records.asked == LOOKUPS
    screen.read()
    assert records.asked == LOOKUPS + 5
    assert all(tile.state == "silent" for tile in screen.read().tiles)
