"""The live view: an event is on the screen within 2.5 s, and nothing moves while a person reads."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import pytest

from tests.browser.driver.layout import notice, painted_at
from tests.browser.driver.watch import PageWatch
from tests.browser.plant import Plant
from tests.browser.served import ServedConsole

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.long("test_platform.py is the short form")]
_log = logging.getLogger(__name__)


def times_shown(page: Page, label: str) -> int:
    """Number of rows of the live list with this label."""
    return page.locator("#newest").get_by_text(label, exact=True).count()


def test_an_event_is_on_the_screen_within_two_and_a_half_seconds_without_a_reload(
    page: Page, console: ServedConsole, plant: Plant
):
    page.goto(console.url)
    delays = []
    for label in ("lily", "iris", "aster", "lilac", "poppy"):
        notice(page, label)
        began = time.time()
        plant.capture(label=label)
        delays.append(painted_at(page, label) - began)
    _log.info("from the event to the screen: %s ms", [round(1e3 * one) for one in delays])
    assert max(delays) < 2.5
    assert page.get_by_text("Updated every 2 seconds").count() == 1
    assert page.locator("#newest .fresh").count() >= 1


def test_the_page_continues_after_a_restart_and_no_row_is_lost_or_doubled(
    page: Page, console: ServedConsole, plant: Plant, watch: PageWatch
):
    watch.expect("ERR_|Failed to fetch|network error")
    page.goto(console.url)
    console.stop()
    page.get_by_text("Not connected.").wait_for()
    for label in ("lily", "iris"):
        plant.capture(label=label)
    console.start()
    notice(page, "iris")
    painted_at(page, "iris")
    plant.capture(label="lilac")
    notice(page, "lilac")
    painted_at(page, "lilac")
    assert [times_shown(page, label) for label in ("lily", "iris", "lilac")] == [1, 1, 1]
    rows = page.locator("#newest > li").evaluate_all("(rows) => rows.map((one) => Number(one.id.slice(6)))")
    assert rows == sorted(set(rows), reverse=True)


def test_a_page_without_news_is_answered_with_304_and_nothing_is_swapped(
    page: Page, console: ServedConsole, watch: PageWatch
):
    page.goto(console.url)
    page.locator(".signs summary").click()
    page.wait_for_timeout(5_000)
    polls = [one.status for one in watch.responses if "/parts/overview" in one.url]
    assert polls[:1] == [200]
    assert set(polls[1:]) == {304}
    assert page.locator(".signs[open]").count() == 1


def test_a_hidden_tab_asks_for_nothing_and_catches_up_when_it_is_seen_again(
    page: Page, console: ServedConsole, plant: Plant, watch: PageWatch
):
    page.goto(console.url)
    page.evaluate("probe.hide(true)")
    page.wait_for_timeout(500)
    before = len(watch.responses)
    plant.capture(label="lily")
    page.wait_for_timeout(3_000)
    assert (len(watch.responses) - before, times_shown(page, "lily")) == (0, 0)
    notice(page, "lily")
    page.evaluate("probe.hide(false)")
    painted_at(page, "lily")
    assert times_shown(page, "lily") == 1


def test_nothing_moves_while_a_person_reads_further_down(page: Page, console: ServedConsole, plant: Plant):
    page.goto(console.url)
    page.mouse.wheel(0, 20_000)
    page.wait_for_timeout(300)
    plant.capture(label="lily")
    plant.capture(label="iris")
    page.get_by_role("button", name="Show 2 new images").wait_for()
    assert times_shown(page, "iris") == 0
    page.get_by_role("button", name="Show 2 new images").click()
    page.locator("#newest").get_by_text("iris", exact=True).wait_for()
    assert page.get_by_role("button", name="Show 2 new images").count() == 0
