"""The live view: an event is on the screen within a second, and none is lost or doubled when the connection breaks."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import pytest

from tests.browser.driver.layout import notice, painted_at
from tests.browser.driver.watch import PageWatch
from tests.browser.plant import Plant
from tests.browser.served import ServedConsole
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

_log = logging.getLogger(__name__)


def open_live(page: Page, console: ServedConsole) -> None:
    """Open the first screen and wait until it streams."""
    page.goto(console.url)
    wait_for_streams(page, console, 1)


def wait_for_streams(page: Page, console: ServedConsole, count: int) -> None:
    """Wait for the number of open streams; the page runs meanwhile."""
    deadline = time.monotonic() + 15
    while console.streams != count:
        assert time.monotonic() < deadline, f"{console.streams} streams are open, not {count}"
        page.wait_for_timeout(20)


def times_shown(page: Page, label: str) -> int:
    """Number of rows of the live list with this label."""
    return page.locator("#newest").get_by_text(label, exact=True).count()


def measure_delay_s(page: Page, console: ServedConsole, plant: Plant) -> float:
    """Time from an event to its row on the screen, seconds; the slowest of five."""
    open_live(page, console)
    delays = []
    for label in ("lily", "iris", "aster", "lilac", "poppy"):
        notice(page, label)
        began = time.time()
        plant.capture(label=label)
        delays.append(painted_at(page, label) - began)
    _log.info("from the event to the screen: %s ms", [round(1e3 * one) for one in delays])
    return max(delays)


def test_an_event_appears_without_a_reload(page: Page, console: ServedConsole, plant: Plant) -> None:
    assert measure_delay_s(page, console, plant) < 10  # on a busy machine; the next test has the bar


@pytest.mark.slow
def test_an_event_is_on_the_screen_within_a_second(page: Page, console: ServedConsole, plant: Plant) -> None:
    assert measure_delay_s(page, console, plant) < 1


def test_the_stream_continues_after_a_restart_and_no_row_is_lost_or_doubled(
    page: Page, console: ServedConsole, plant: Plant, watch: PageWatch
) -> None:
    watch.expect("ERR_|Failed to fetch|network error")
    open_live(page, console)
    notice(page, "lily")
    plant.capture(label="lily")
    painted_at(page, "lily")
    console.stop()
    plant.capture(label="iris")
    plant.capture(label="aster")
    console.start()
    notice(page, "aster")
    painted_at(page, "aster")
    plant.capture(label="lilac")
    notice(page, "lilac")
    painted_at(page, "lilac")
    assert {label: times_shown(page, label) for label in ("lily", "iris", "aster", "lilac")} == {
        "lily": 1,
        "iris": 1,
        "aster": 1,
        "lilac": 1,
    }
    asked = [one.request.all_headers().get("last-event-id") for one in watch.responses if "/stream" in one.url]
    assert asked[0] is None
    assert [one for one in asked if one]


def test_a_hidden_tab_gets_nothing_and_catches_up_when_it_is_seen_again(
    page: Page, console: ServedConsole, plant: Plant
) -> None:
    open_live(page, console)
    page.evaluate("probe.hide(true)")
    wait_for_streams(page, console, 0)
    plant.capture(label="lily")
    assert times_shown(page, "lily") == 0
    notice(page, "lily")
    page.evaluate("probe.hide(false)")
    painted_at(page, "lily")
    assert times_shown(page, "lily") == 1
    wait_until(lambda: console.streams == 1, what="an open stream")


def test_the_stream_opens_when_the_scripts_arrive_late_and_apart(page: Page, console: ServedConsole) -> None:
    """htmx starts at a timer when its script is deferred, and then it doesn't know an extension that arrives later."""

    def delay(route: Route) -> None:
        page.wait_for_timeout(300)
        route.continue_()

    page.route("**/hx-sse*", delay)
    open_live(page, console)
