"""Ten thousand past events: a person scrolls through thousands of rows by keyboard, and the page stays quick."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import pytest

from tests.browser.driver.layout import long_tasks_ms
from tests.browser.plant import Plant, build_plant
from tests.browser.served import ServedConsole

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.long("2,000 rows are scrolled through")]
_log = logging.getLogger(__name__)

IMAGES = 5_000
ROWS = 2_000
LIMIT_S = 90.0


@pytest.fixture
def plant() -> Plant:
    """A packing line whose history is full: 10,000 records, of which half are predictions."""
    made = build_plant(IMAGES)
    assert len(made.backend.records.kept) == 2 * IMAGES
    return made


def scroll_to_the_end(page: Page, console: ServedConsole, rows: int) -> list[int]:
    """Press End until so many rows are loaded; return the durations of long tasks, milliseconds."""
    page.goto(f"{console.url}events")
    page.locator("#results .row").first.wait_for()
    deadline, began = time.monotonic() + LIMIT_S, time.monotonic()
    while (loaded := page.locator("#results .row").count()) < rows:
        assert time.monotonic() < deadline, f"{loaded} rows after {LIMIT_S:g} s"
        page.keyboard.press("End")
        page.wait_for_timeout(10)
    found = long_tasks_ms(page)
    seqs = page.locator("#results .row").evaluate_all("(rows) => rows.map((one) => one.id)")
    assert len(set(seqs)) == len(seqs), "a row is there twice"
    _log.info(
        "%d rows in %.1f s; long tasks: %d, %d ms in all, longest %d ms",
        loaded, time.monotonic() - began, len(found), sum(found), max(found, default=0),
    )  # fmt: skip
    return found


def test_two_thousand_rows_scroll_without_a_pause(page: Page, console: ServedConsole):
    assert max(scroll_to_the_end(page, console, ROWS), default=0) < 200
