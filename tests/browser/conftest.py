"""A browser for the whole folder, a new context for each test, and a console to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eaves.spool import Spool
from tests.browser.driver.chromium import missing_part, open_browser
from tests.browser.driver.watch import PageWatch
from tests.browser.plant import Plant, build_plant, bury_events, list_runs
from tests.browser.served import ServedConsole, serve
from tests.cluster.simulated import apiserver, cluster, knative

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

__all__ = ["apiserver", "cluster", "knative"]

TIMEOUT_MS = 15_000
"""Time limit of each wait for a page, milliseconds; a busy machine needs seconds for what takes milliseconds."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium, which starts in a second.

    It ends with the folder: Playwright's event loop occupies the thread, and tests of other folders start their own.
    """
    if missing := missing_part():
        pytest.skip(missing)
    with open_browser() as made:
        yield made


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """The queue of the broker, which nobody delivers but the test."""
    with Spool(tmp_path / "spool.db") as made:
        yield made


@pytest.fixture
def plant(tmp_path: Path, spool: Spool) -> Plant:
    """A packing line with dead letters in that spool."""
    made = build_plant()
    made.backend.named_queues["broker"] = bury_events(spool)
    made.backend.known_runs = list_runs(tmp_path)
    return made


@pytest.fixture
def console(plant: Plant) -> Iterator[ServedConsole]:
    """The console of that packing line, which listens on this machine."""
    with serve(plant) as made:
        yield made


@pytest.fixture
def watch(console: ServedConsole) -> Iterator[PageWatch]:
    """What no page may do; the test fails when one did."""
    made = PageWatch(host=console.host)
    yield made
    assert made.unexpected() == []


@pytest.fixture
def open_context(browser: Browser, watch: PageWatch) -> Iterator[Callable[..., BrowserContext]]:
    """Open a browser context with no cookies and no cache, as a person's own browser; its pages are watched."""
    made: list[BrowserContext] = []

    def open_one(**options: object) -> BrowserContext:
        context = browser.new_context(locale="en-GB", timezone_id="UTC", **options)  # type: ignore[arg-type]
        context.set_default_timeout(TIMEOUT_MS)
        watch.watch(context)
        made.append(context)
        return context

    yield open_one
    for context in made:
        context.close()


@pytest.fixture
def page(open_context: Callable[..., BrowserContext]) -> Page:
    """A tab of a laptop's browser, without an address yet."""
    return open_context(viewport={"width": 1280, "height": 800}).new_page()
