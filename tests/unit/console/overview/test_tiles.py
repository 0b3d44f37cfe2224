"""The tile of a source: which state it shows, and since when."""

from dataclasses import replace

from eaves.admin.report import QueueReport, SourceReport
from eaves.console.pages.event_row import EventRow
from eaves.console.pages.tiles import SourceTile, build_tile
from eaves.platform import FunctionStatus
from tests.fakes.clock import START

FUNCTION = FunctionStatus(name="flowers", state="ready", replicas=1, site="mill")
IMAGE = EventRow(seq=9, at=START - 30, title="rose")
REFUSED = "the camera can't be reached: connection refused"


def tile_of(
    report: SourceReport,
    *,
    function: FunctionStatus = FUNCTION,
    last: EventRow | None = IMAGE,
    agent: QueueReport | None = None,
    silent_after_s: float = 600.0,
) -> SourceTile:
    agent = agent or QueueReport(name="flowers", state="running", sources=(report,))
    return build_tile(report, agent, function, last, now=START, silent_after_s=silent_after_s)


def watching(last_captured_age_s: float | None = 30.0) -> SourceReport:
    at = None if last_captured_age_s is None else START - last_captured_age_s
    return SourceReport(name="camera-1", state="watching", last_captured_at=at)


def test_a_camera_that_cannot_be_reached_is_silent_since_then():
    report = SourceReport(name="camera-1", state="waiting", reason=REFUSED, last_error=REFUSED, last_error_age_s=720.0)
    tile = tile_of(report)
    assert (tile.state, tile.since) == ("silent", START - 720)
    assert tile.detail == "The camera can't be reached: connection refused."
    assert tile.needs_attention


def test_a_source_is_silent_after_the_threshold():
    last = replace(IMAGE, at=START - 601)
    tile = tile_of(watching(601), last=last)
    assert (tile.state, tile.since) == ("silent", START - 601)
    assert tile_of(watching(599), last=replace(last, at=START - 599)).state == "quiet"
    assert tile_of(watching(601), last=last, silent_after_s=0).state == "quiet"


def test_a_source_whose_images_come_from_the_future_is_not_called_alive():
    year_s = 365 * 86_400
    ahead = replace(IMAGE, at=START + year_s)  # taken before the clock was set back
    assert tile_of(watching(-year_s), last=ahead).state == "quiet"
    assert tile_of(watching(10), last=ahead).state == "ok", "the agent has seen an image since"
    assert tile_of(watching(-5), last=replace(IMAGE, at=START + 5)).state == "ok"
