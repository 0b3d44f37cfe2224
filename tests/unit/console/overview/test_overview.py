"""The headline, the order of the tiles, and the link."""

from dataclasses import replace

import pytest

from eaves.admin.report import LinkReport, QueueReport, SourceReport
from eaves.console.pages.event_row import EventRow
from eaves.console.pages.overview import MAX_TILES, Overview, build_overview, list_links
from eaves.platform import FunctionStatus, PartStatus
from eaves.spool.score_shift import ScoreWindow
from tests.fakes.clock import START

DOWN = "connection refused"
IMAGE = EventRow(seq=1, at=START - 10, title="rose")


def watching(name: str, age_s: float = 10.0) -> SourceReport:
    return SourceReport(name=name, state="watching", last_captured_at=START - age_s)


def silent(name: str, age_s: float = 720.0) -> SourceReport:
    return SourceReport(name=name, state="waiting", reason=DOWN, last_error=DOWN, last_error_age_s=age_s)


def function_of(*reports: SourceReport, state: str = "ready", link: LinkReport | None = None) -> FunctionStatus:
    agents = [QueueReport(name="flowers", state="running", sources=reports)]
    if link is not None:
        agents.append(QueueReport(name="flowers.relay", state="running", link=link))
    return FunctionStatus(name="flowers", state=state, site="mill", agents=tuple(agents))


def view_of(*functions: FunctionStatus, images: dict[str, EventRow] | None = None) -> Overview:
    return build_overview(functions, images or {}, now=START, silent_after_s=0.0)


@pytest.mark.parametrize(
    ("functions", "state", "headline"),
    [
        ([function_of(watching("b"), watching("a"))], "ok", "All 2 sources are sending."),
        ([function_of(watching("a"), silent("b"))], "failing", "1 of 2 sources needs attention."),
        ([function_of(watching("a", 9_000), state="idle")], "asleep", "The source is quiet. Nothing is wrong."),
        ([function_of(watching("a", 9_000), watching("b"))], "ok", "1 of 2 sources is sending. Nothing is wrong."),
        (
            [function_of(watching("a"), watching("b"), state="stopped")],
            *("failing", "Eaves is not running, so no image is predicted."),
        ),
        ([], "note", "Nothing is deployed yet."),
    ],
)
def test_the_headline_says_whether_all_is_well(functions: list[FunctionStatus], state: str, headline: str):
    view = view_of(*functions)
    assert (view.state, view.headline) == (state, headline)


def test_among_many_sources_those_that_need_attention_are_shown():
    reports = [watching(f"camera-{number:04}") for number in range(4_000)]
    reports[3_999] = silent("camera-3999")
    view = view_of(function_of(*reports))
    assert (len(view.tiles), view.hidden) == (MAX_TILES, 4_000 - MAX_TILES)
    assert view.tiles[0].name == "camera-3999"


def test_a_source_whose_site_was_renamed_has_one_tile():
    view = view_of(function_of(watching("a")), images={"/eaves/local/a": IMAGE, "/eaves/mill/a": IMAGE})
    assert [tile.key for tile in view.tiles] == ["/eaves/mill/a"]


def test_a_subscriber_that_is_away_is_a_note_and_no_headline_says_that_nothing_is_wrong():
    away = PartStatus(kind="Trigger", name="display", component="trigger", state="failed", reason=DOWN, since=START)
    well = PartStatus(kind="Trigger", name="alarm", component="trigger")
    view = view_of(replace(function_of(watching("a", 9_000), watching("b")), parts=(away, well)))
    assert (view.state, view.headline) == ("ok", "1 of 2 sources is sending.")
    assert [(one.name, one.text, one.since) for one in view.problems] == [
        ("Trigger display", f"{DOWN}; its events wait.", None)  # `since` would be shown as silence of a camera
    ]


def test_scores_that_have_shifted_are_a_note():
    window = ScoreWindow(artifact="a", source="/eaves/mill/a", since=START)
    status = replace(function_of(watching("a")), agents=(QueueReport(sources=(watching("a"),), windows=(window,)),))
    view = view_of(status)
    assert view.state == "ok"
    assert [(one.name, one.text) for one in view.problems] == [("flowers", f"{window.reason}.")]


def test_a_link_that_is_down_says_what_waits():
    link = LinkReport(
        to="https://cloud.example/r", state="down", since_age_s=3_600, reason=DOWN, backlog_events=1_200,
        backlog_bytes=5_300_000, oldest_age_s=3_590.0, drain_s=60.0,
    )  # fmt: skip
    (view,) = list_links([function_of(link=link)], START)
    assert (view.state, view.word, view.since) == ("down", "Not connected", START - 3_600)
    assert (view.backlog, view.oldest_at, view.drain) == ("1,200 events waiting (5.3 MB)", START - 3_590, "")
    assert view.title == "cloud.example"
    overview = view_of(function_of(watching("a"), link=link))
    assert overview.state == "ok"  # images are predicted all the same
    assert overview.problems[0].text.startswith("Not connected. Images are predicted all the same; 1,200 events")
