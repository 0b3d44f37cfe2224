"""A real `eaves up` with a real artifact: an image that is sent to the broker is on the screen a moment later."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eaves.events import IMAGE_CAPTURED, Event
from tests.browser.driver.layout import notice, painted_at
from tests.browser.driver.watch import PageWatch
from tests.contract.harness import LocalHarness, open_local_harness, status_of
from tests.inputs.artifacts import tiny_artifact
from tests.integration.local.apps import digits_app
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["tiny_artifact"]

_log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def harness(tiny_artifact: Path) -> Iterator[LocalHarness]:
    """`eaves up` with one function that has answered once."""
    with open_local_harness(start=False) as made:
        made.start(0, "--console-port", "0")
        made.deploy(digits_app(tiny_artifact))
        yield made


@pytest.fixture(scope="module")
def address(harness: LocalHarness) -> str:
    """Address of the console, as `eaves up` names it."""
    return str(wait_until(lambda: re.findall(r"^console: (\S+)$", harness.log(), re.MULTILINE), 30)[-1])


@pytest.fixture
def watch(address: str) -> Iterator[PageWatch]:
    """What no page may do, here for the console of the platform."""
    made = PageWatch(host=address.removeprefix("http://").rstrip("/"))
    yield made
    assert made.unexpected() == []


def publish(harness: LocalHarness, artifact: Path, name: str) -> None:
    """Hand one of the artifact's golden images to the broker."""
    image = min((artifact / "golden").glob("*.png")).read_bytes()
    event = Event(
        id=name,
        source="/eaves/test/belt-9",
        type=IMAGE_CAPTURED,
        subject=f"{name}.png",
        datacontenttype="image/png",
        data=image,
    )
    harness.platform.publish(event)


@pytest.mark.long("Chromium, `eaves up` and a function start")
def test_an_image_sent_to_the_broker_is_on_the_screen_with_its_label_and_its_thumbnail(
    page: Page, harness: LocalHarness, address: str, tiny_artifact: Path
):
    publish(harness, tiny_artifact, "first")
    wait_until(lambda: status_of(harness.platform).delivered >= 1, 60, what="a first prediction")
    page.goto(address)
    page.get_by_text("belt-9").first.wait_for()
    notice(page, "second")
    began = time.time()
    publish(harness, tiny_artifact, "second")
    _log.info("from the POST to the screen: %.0f ms", 1e3 * (painted_at(page, "second") - began))
    page.wait_for_function("() => [...document.images].some((one) => one.complete && one.naturalWidth > 0)")
