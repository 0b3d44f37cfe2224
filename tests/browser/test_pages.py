"""Every page: accessible, within its Content-Security-Policy, not too wide, reachable by keyboard, light."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from eaves.spool import Spool
from tests.browser.addresses import page_rules
from tests.browser.driver.accessibility import find_violations
from tests.browser.driver.keyboard import reachable, tab_through
from tests.browser.driver.layout import first_contentful_paint_ms, too_wide, transferred_bytes
from tests.browser.driver.watch import PageWatch
from tests.browser.plant import Plant, build_labels, build_plant, bury_events, list_runs
from tests.browser.served import ServedConsole, serve

if TYPE_CHECKING:
    from playwright.sync_api import Page

_log = logging.getLogger(__name__)

SHORT = {"overview.show", "events.show"}
"""Pages that are looked at in `make test`, too."""
SLOW = [pytest.mark.slow]
PAGES = [
    pytest.param(rule.endpoint, marks=[] if rule.endpoint in SHORT else SLOW, id=rule.endpoint) for rule in page_rules()
]
FIRST_SCREEN_BYTES = 100_000


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """The same packing line for all tests of this module, which only look; its link to the cloud is down."""
    made, folder = build_plant(20, link_up=False), tmp_path_factory.mktemp("plant")
    made.backend.known_runs = list_runs(folder)
    made.backend.labels, made.backend.jobs = build_labels(folder)
    with Spool(folder / "spool.db") as spool:
        made.backend.named_queues["broker"] = bury_events(spool)
        yield made


@pytest.fixture(scope="module")
def console(plant: Plant) -> Iterator[ServedConsole]:
    """The same console for all tests of this module."""
    with serve(plant) as made:
        yield made


@pytest.mark.long("two widths, two colour schemes and every stop of the keyboard")
@pytest.mark.parametrize("endpoint", PAGES)
def test_a_page_is_accessible_and_fits_and_works_by_keyboard(
    endpoint: str, page: Page, console: ServedConsole, plant: Plant, watch: PageWatch
):
    if endpoint.startswith("dead_letters."):
        watch.expect(r"404 .*/image\)")  # two of the dead letters are no images
    page.goto(console.url_of(endpoint, plant))
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert too_wide(page) == [], f"at {width} px"
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert find_violations(page) == [], f"at {width} px, {scheme}"
    wanted = reachable(page)
    stops = tab_through(page)
    assert [one.name for one in stops] == wanted
    assert [one.name for one in stops if not one.outlined] == []
    assert [one.name for one in stops if not one.seen] == []


def test_the_first_screen_is_light(page: Page, console: ServedConsole):
    page.goto(console.url)
    painted_ms = first_contentful_paint_ms(page)
    size = transferred_bytes(page)
    _log.info("first screen: %d bytes without images, painted after %.0f ms", size, painted_ms)
    assert size < FIRST_SCREEN_BYTES
    assert painted_ms < 10_000  # on a busy machine


def test_the_first_screen_says_that_the_cloud_is_unreachable(page: Page, console: ServedConsole):
    """Every part of the page comes from this machine, which `watch` checks in all tests."""
    page.goto(console.url)
    assert re.search(r"Not connected for 4\d minutes", page.locator("main").inner_text())
