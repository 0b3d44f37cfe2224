"""What the guard lets through, by real requests to the console's app."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext
from eaves.console.exposure import ConsoleSettings
from eaves.console.guard import CHANGES_NOTHING
from tests.fakes.console.browser import Browser
from tests.unit.console.security.sample_app import SVG, build_app

# Without a password, on loopback


def test_on_loopback_pages_need_no_password(local: ConsoleContext) -> None:
    browser = Browser(build_app(local))
    assert browser.open("/").status_code == 200
    assert browser.submit("/change", {"value": "x"}).text == "changed x"
    assert browser.open("/login").headers["Location"] == "/"
    assert "Log out" not in browser.open("/").text
    assert "Set-Cookie" not in browser.open("/").headers


@pytest.mark.parametrize("path", ["/", "/static/console.css"])
def test_a_rebound_host_reads_nothing(local: ConsoleContext, path: str) -> None:
    response = Browser(build_app(local), "http://evil.example:8481").open(path)
    assert response.status_code == 403
    assert "Only programs on this machine" in response.text


@pytest.mark.parametrize("token", ["", "\u00e9"])
def test_a_form_without_its_token_changes_nothing(local: ConsoleContext, token: str) -> None:
    response = Browser(build_app(local)).submit("/change", token=token)
    assert response.status_code == 403
    assert "out of date" in response.text


def test_a_page_of_another_site_changes_nothing_even_with_a_token(local: ConsoleContext) -> None:
    browser = Browser(build_app(local))
    assert browser.submit("/change", Origin="http://evil.example").status_code == 403
    assert browser.submit("/change", Sec_Fetch_Site="cross-site").status_code == 403


def test_a_page_that_stays_open_works_after_the_process_has_started_again(
    local: ConsoleContext, tmp_path: Path
) -> None:
    context = replace(local, settings=ConsoleSettings(state=tmp_path))
    token = Browser(build_app(context)).token()
    assert Browser(build_app(context)).submit("/change", token=token).status_code == 200


@pytest.mark.parametrize("method", ["DELETE", "BREW"])
def test_every_method_that_could_change_something_needs_the_token(local: ConsoleContext, method: str) -> None:
    response = build_app(local).test_client().open("/change", method=method)
    assert response.status_code == 403


# Read-only


def test_every_route_of_a_read_only_console_that_changes_something_answers_403(local: ConsoleContext) -> None:
    app = create_app(replace(local, settings=ConsoleSettings(read_only=True)))
    browser = Browser(app)
    token = browser.token()
    for rule in app.url_map.iter_rules():
        if rule.endpoint in CHANGES_NOTHING:
            continue
        path = re.sub(r"<[^>]+>", "1", rule.rule)
        for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}:
            response = browser.client.open(path, method=method, base_url=browser.url, headers={"X-CSRF-Token": token})
            assert response.status_code == 403, f"{method} {path}"


# Limits and headers


def test_bodies_are_limited(local: ConsoleContext) -> None:
    browser = Browser(build_app(local))
    assert browser.submit("/change", {"value": "x" * 70_000}).status_code == 413
    assert browser.submit("/try", {"photo": (io.BytesIO(b"x" * 1_000_000), "a")}).status_code == 200
    assert browser.submit("/try", {"photo": (io.BytesIO(b"x" * 20_000_001), "a")}).status_code == 413


@pytest.mark.parametrize("path", ["/", "/missing", "/static/console.css", "/fails"])
def test_every_response_has_the_headers(local: ConsoleContext, path: str) -> None:
    headers = Browser(build_app(local)).open(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Permissions-Policy"].startswith("camera=(),")
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    if headers["Content-Type"].startswith("text/html"):
        assert "script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["Cache-Control"] == "no-store"


def test_only_a_page_that_takes_photos_may_use_the_camera(local: ConsoleContext) -> None:
    response = Browser(build_app(local)).open("/try")
    assert response.headers["Permissions-Policy"].startswith("camera=(self),")
    assert "img-src 'self' blob:" in response.headers["Content-Security-Policy"]


def test_foreign_bytes_are_never_sent_with_a_type_that_could_execute(local: ConsoleContext) -> None:
    response = Browser(build_app(local)).open("/foreign.svg")
    assert response.data == SVG
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == "attachment"
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"] == "private, max-age=60"
