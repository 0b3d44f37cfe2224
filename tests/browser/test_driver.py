"""What the other tests of this folder rely on: each fault that a page can have is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.driver.accessibility import find_violations
from tests.browser.driver.keyboard import reachable, tab_through
from tests.browser.driver.layout import long_tasks_ms, too_wide
from tests.browser.driver.watch import PageWatch

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = [pytest.mark.slow, pytest.mark.long("a test of the driver")]
BAD_PAGE = """<!doctype html><html lang="en"><title>Bad</title><main><h1>Bad</h1>
<p style="width: 2000px">wide</p>
<a href="/a">first</a> <button class="flat">second</button> <a href="/b" class="gone">third</a>
<img src="http://elsewhere.example/x.png">
<script>document.title = 'ran'</script>
<script src="/script.js"></script>
</main></html>"""
SCRIPT = """
const sheet = new CSSStyleSheet();
sheet.replaceSync('.flat:focus { outline: none } .gone { position: absolute; left: -999px } p { width: 2000px }');
document.adoptedStyleSheets = [sheet];
const end = performance.now() + 250;
while (performance.now() < end);
setTimeout(() => { throw new Error('a fault of the script') });
"""
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src *"


def answer(route: Route) -> None:
    if route.request.url.endswith(".js"):
        route.fulfill(content_type="text/javascript", body=SCRIPT)
    elif "elsewhere" in route.request.url:
        route.abort()
    else:
        route.fulfill(content_type="text/html", body=BAD_PAGE, headers={"Content-Security-Policy": POLICY})


def test_every_fault_of_a_page_is_found(page: Page, watch: PageWatch):
    page.route("**/*", answer)
    page.goto(f"http://{watch.host}/bad")
    assert [one.partition(" px")[0] for one in too_wide(page)] == ["P. ends at 2008", "the page is 2008"]
    assert any("image-alt" in one for one in find_violations(page))
    stops = tab_through(page)
    assert [one.name for one in stops] == reachable(page) == ["a first", "button second", "a third"]
    assert [(one.outlined, one.seen) for one in stops] == [(True, True), (False, True), (True, False)]
    assert max(long_tasks_ms(page)) >= 200
    found, watch.faults = " | ".join(watch.faults), []
    assert "policy violated: style-src-attr forbids inline" in found
    assert "policy violated: script-src-elem forbids inline" in found
    assert "another host was contacted: http://elsewhere.example/x.png" in found
    assert "script failed: a fault of the script" in found
    assert page.title() == "Bad"
