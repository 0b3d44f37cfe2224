"""A real Chromium with the first screen open."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report.section import UnavailableError

if TYPE_CHECKING:
    from playwright.sync_api import Page

TIMEOUT_MS = 30_000
NOTICE = """
(name) => {
  window.shown = new Promise((resolve) => {
    const look = () => {
      const rows = [...document.querySelectorAll('#newest > li')];
      const row = rows.find((one) => one.textContent.includes(name));
      const isVisible = row?.checkVisibility({contentVisibilityAuto: true});
      if (!isVisible || row.getBoundingClientRect().top > innerHeight) requestAnimationFrame(look);
      else requestAnimationFrame(() => setTimeout(() => resolve(performance.timeOrigin + performance.now())));
    };
    look();
  });
}
"""
"""Script that notes when the row of an event is painted, as Unix time in milliseconds. A row that is inserted counts as
visible in the frame that lays it out, and is painted at the end of that frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstScreen:
    """The first screen in a browser.

    Attributes:
        page: The browser's page.
        transferred_bytes: Bytes of the page and of what it loaded, without images, with an empty cache.
        paint_ms: Time from the start of loading to the first content on the screen, ms.
    """

    page: Page
    transferred_bytes: int
    paint_ms: float

    def measure_news_ms(self, send: Callable[[str], None], names: list[str]) -> list[float]:
        """Send one event after the other, and return the times from each POST to its row on the screen, ms.

        Args:
            send: Sends an event with this name as its subject.
            names: Names of the events.
        """
        found = []
        for number, name in enumerate(names):
            time.sleep(number % 5 * 0.05)  # the console asks for news every 250 ms
            self.page.evaluate(NOTICE, name)
            began_at = time.time()
            send(name)
            found.append(float(self.page.evaluate("window.shown")) - began_at * 1_000)
        return found


@contextmanager
def open_first_screen(port: int, *, prepare: Callable[[], None] = lambda: None) -> Iterator[FirstScreen]:
    """Open the console's first screen in Chromium, and wait until its stream is open.

    Args:
        port: Port of the console.
        prepare: Function that is called before the page is loaded, when the browser runs.

    Raises:
        UnavailableError: When Chromium or Playwright isn't installed.
    """
    from tests.browser.driver.chromium import missing_part, open_browser
    from tests.browser.driver.layout import first_contentful_paint_ms, transferred_bytes
    from tests.browser.driver.watch import PageWatch

    if missing := missing_part():
        raise UnavailableError(missing)
    with open_browser() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(TIMEOUT_MS)
        PageWatch(host=f"127.0.0.1:{port}").watch(context)
        page = context.new_page()
        prepare()
        page.goto(f"http://127.0.0.1:{port}/")
        paint_ms = first_contentful_paint_ms(page)
        page.get_by_text("Live", exact=True).wait_for()
        yield FirstScreen(page=page, transferred_bytes=transferred_bytes(page), paint_ms=paint_ms)
