"""Texts that attack a page are shown as text, on every page of the app's map of addresses."""

from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext
from eaves.delivery import SinkResponse
from eaves.spool import Spool
from tests.fakes.clock import START, FrozenClock
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.browser import Browser
from tests.fakes.console.hostile import ATTACK, LINES_ATTACK, NAME_ATTACK, build_hostile_backend
from tests.fakes.console.material import captured_event, classified_event


def list_rules() -> list[Rule]:
    app = create_app(ConsoleContext(backend=FakeBackend()))
    return [one for one in app.url_map.iter_rules() if one.endpoint != "static"]


class Elements(HTMLParser):
    """Finds what a page must not contain."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self._form_lacks_token = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        names = {name.lower() for name in values}
        self.faults += [f"<{tag} {name}>" for name in names if name.startswith(("on", "hx-on")) or name == "style"]
        self.faults += [f"<{tag} {name}={value!r}>" for name, value in attrs if _leads_out(name, value)]
        if tag == "script" and not (values.get("src") or "").startswith("/static/"):
            self.faults.append("<script> without a file")
        if tag == "form":
            self._form_lacks_token = values.get("method") == "post"
        if tag == "input" and values.get("name") == "csrf_token" and values.get("value"):
            self._form_lacks_token = False
        if tag in {"base", "object", "embed", "iframe", "style"}:
            self.faults.append(f"<{tag}>")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self._form_lacks_token:
            self.faults.append("<form> without its token")


def _leads_out(name: str, value: str | None) -> bool:
    """Return whether an attribute is an address with a scheme, such as `javascript:`, or of another host."""
    is_address = name in {"href", "src", "action", "formaction", "hx-get", "hx-post", "poster"}
    value = value or ""
    return is_address and (not value.startswith(("/", "#", "?")) or value.startswith(("//", "/\\")))


def find_faults(html: str) -> list[str]:
    parser = Elements()
    parser.feed(html)
    parser.close()
    return parser.faults


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeBackend]:
    folder = tmp_path_factory.mktemp("hostile")
    with Spool(folder / "spool.db") as spool:
        yield build_hostile_backend(folder, spool)


@pytest.fixture
def backend(shared: FakeBackend) -> FakeBackend:
    """A copy, whose images and answers a test may change."""
    return replace(shared, images=replace(shared.images, images=dict(shared.images.images)))


@pytest.fixture
def app(backend: FakeBackend) -> Flask:
    return create_app(ConsoleContext(backend=backend, clock=FrozenClock(START + 90)))


def check(response: TestResponse) -> None:
    assert response.status_code < 500 or "fault" in response.text
    assert all("\r" not in value and "\n" not in value for _, value in response.headers)
    assert "injected" not in response.headers.get("Set-Cookie", "")
    if response.mimetype == "text/html":
        assert find_faults(response.text) == []
        assert "<img src=x" not in response.text
        assert "alert(2)</script>" not in response.text
        assert "x'\"><img" not in response.text
        assert "&lt;script&gt;alert(2)&lt;/script&gt;49" not in response.text, "foreign text was a template"


def list_addresses(app: Flask, rule: Rule) -> list[str]:
    """Return addresses of a rule: with values that exist, and with attacks that name nothing."""
    existing = {
        "change": ["promote", "rollback"],
        "name": [f"ready{NAME_ATTACK}", NAME_ATTACK],
        "queue": [NAME_ATTACK],
        "kind": ["review"],
        "file": [f"{NAME_ATTACK}.jpg"],
        "seq": ["4", "3"] if "POST" in (rule.methods or ()) else ["2", "1"],  # a retry changes the shared queue
    }
    query = dict.fromkeys(("label", "source", "text", "q", "function", "a", "b", "reason", "lane", "next"), ATTACK)
    found = []
    names = dict.fromkeys(
        ("_scheme", "_method", "_anchor", "_external", "queue", "seq", "name", "endpoint"), "javascript"
    )
    numbers = dict.fromkeys(("before", "after", "seq", "at", "died", "since", "until", "from", "to", "page"), "nan")
    with app.test_request_context():
        for attack in (NAME_ATTACK, LINES_ATTACK):
            for position in range(2):
                values: dict[str, Any] = {}
                for name in rule.arguments:
                    known = existing.get(name, [attack])
                    values[name] = known[min(position, len(known) - 1)] if attack is NAME_ATTACK else attack
                    if name in {"seq", "change"}:
                        values[name] = known[min(position, len(known) - 1)]
                    if name == "digest":
                        values[name] = "0" * 32
                address = app.url_for(rule.endpoint, **values)
                found.append(address)
                if position == 0:
                    found += [f"{address}?{urlencode(one)}" for one in (query, names, numbers)]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("rule", list_rules(), ids=lambda rule: str(rule.endpoint))
def test_no_page_executes_foreign_text(app: Flask, rule: Rule):
    browser = Browser(app)
    token = browser.token("/")
    for address in list_addresses(app, rule):
        if "GET" in (rule.methods or ()):
            check(browser.open(address))
            if "?" not in address:
                check(browser.fetch(address))
        if "POST" in (rule.methods or ()):
            fields = {
                "function": f"ready{NAME_ATTACK}",
                "lane": ATTACK,
                "reason": ATTACK,
                "seq": ATTACK,
                "next": ATTACK,
                "who": "Ann",
                "label": ATTACK,
                "names": ATTACK,
            }
            check(browser.submit(address, fields, token=token))


def test_the_attacks_reach_the_pages(app: Flask):
    browser = Browser(app)
    for path in ("/", "/events", "/events/2", "/functions", "/labels", "/models", "/try"):
        assert "&lt;img src=x onerror=alert(1)&gt;" in browser.open(path).text, path


@pytest.mark.parametrize("answers_well", [True, False])
def test_a_photo_with_a_hostile_name_and_answer_is_shown_as_text(app: Flask, backend: FakeBackend, answers_well: bool):
    if answers_well:
        reply = classified_event(captured_event(), label=ATTACK, version=ATTACK)
        backend.answer = lambda *_: SinkResponse(status=200, event=reply)
    photo = (BytesIO(b"not an image"), LINES_ATTACK)
    response = Browser(app).submit("/try", {"function": f"ready{NAME_ATTACK}", "photo": photo})
    check(response)
    assert response.status_code == 200
    assert "&lt;img src=x" in response.text


@pytest.mark.parametrize(
    "html",
    [
        "<img src=/x onerror=a()>",
        "<script>a()</script>",
        "<a href='javascript:a()'>",
        "<p style='x:y'>",
        "<button hx-on:click=a()>",
        "<form method=post><input name=csrf_token></form>",
    ],
)
def test_the_check_finds_what_executes(html: str):
    assert find_faults(html)
