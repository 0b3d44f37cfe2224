"""The app: its pages and their common parts."""

import re

from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.browser import Browser, open_console


def test_htmx_begins_after_our_script():
    app = create_app(ConsoleContext(backend=FakeBackend()))
    page = app.test_client().get("/").text
    scripts = re.findall(r"<script ([^>]*)></script>", page[page.index("</main>") :])
    assert [re.findall(r"/static/(?:vendor/)?([a-z-]+)", one)[0] for one in scripts] == ["htmx-", "console"]
    assert not any("defer" in one or "async" in one for one in scripts)  # htmx waits for the end of parsing only then


def test_an_unknown_address_gets_a_page_with_the_way_back():
    browser = Browser(create_app(ConsoleContext(backend=FakeBackend())))
    page = browser.open("/nothing<b>")
    assert page.status_code == 404
    assert "There is no page at this address." in page.text
    assert 'href="/events"' in page.text
    part = browser.fetch("/nothing")
    assert (part.status_code, "<html" in part.text, "There is no page" in part.text) == (404, False, True)
    text = browser.open("/nothing", Accept="*/*")
    assert (text.headers["Content-Type"], text.text) == (
        "text/plain; charset=utf-8",
        "There is no page at this address.\n",
    )
    wrong = browser.submit("/events")
    assert (wrong.status_code, "This address can&#39;t be used in this way." in wrong.text) == (405, True)
    assert "GET" in wrong.headers["Allow"]


def test_a_fault_of_the_console_gets_a_page_without_its_details():
    backend = FakeBackend()
    backend.functions = None  # type: ignore[assignment]  # no page expects this
    page = open_console(backend).open("/functions")
    assert page.status_code == 500
    assert "This page has failed because of a fault of the console." in page.text
    assert "NoneType" not in page.text
    assert 'href="/events"' in page.text
