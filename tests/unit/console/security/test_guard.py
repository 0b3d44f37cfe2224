"""What the guard of a console lets through, and its logins and sessions, by real requests to its app."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext
from eaves.console.exposure import ConsoleSettings
from eaves.console.guard import CHANGES_NOTHING
from eaves.errors import ConfigError
from tests.fakes.clock import ManualClock
from tests.fakes.console.browser import Browser
from tests.unit.console.security.sample_app import HTTPS, PASSWORD, SVG, build_app

# Without a password, on loopback


def test_on_loopback_pages_need_no_password(local: ConsoleContext):
    browser = Browser(build_app(local))
    assert browser.open("/").status_code == 200
    assert browser.submit("/change", {"value": "x"}).text == "changed x"
    assert browser.open("/login").headers["Location"] == "/"
    assert "Log out" not in browser.open("/").text
    assert "Set-Cookie" not in browser.open("/").headers


@pytest.mark.parametrize("path", ["/", "/static/console.css"])
def test_a_rebound_host_reads_nothing(local: ConsoleContext, path: str):
    response = Browser(build_app(local), "http://evil.example:8481").open(path)
    assert response.status_code == 403
    assert "Only programs on this machine" in response.text


@pytest.mark.parametrize("token", ["", "\u00e9"])
def test_a_form_without_its_token_changes_nothing(local: ConsoleContext, token: str):
    response = Browser(build_app(local)).submit("/change", token=token)
    assert response.status_code == 403
    assert "out of date" in response.text


def test_a_page_of_another_site_changes_nothing_even_with_a_token(local: ConsoleContext):
    browser = Browser(build_app(local))
    assert browser.submit("/change", Origin="http://evil.example").status_code == 403
    assert browser.submit("/change", Sec_Fetch_Site="cross-site").status_code == 403


def test_a_page_that_stays_open_works_after_the_process_has_started_again(local: ConsoleContext, tmp_path: Path):
    context = replace(local, settings=ConsoleSettings(state=tmp_path))
    token = Browser(build_app(context)).token()
    assert Browser(build_app(context)).submit("/change", token=token).status_code == 200


@pytest.mark.parametrize("method", ["DELETE", "BREW"])
def test_every_method_that_could_change_something_needs_the_token(local: ConsoleContext, method: str):
    response = build_app(local).test_client().open("/change", method=method)
    assert response.status_code == 403


# Read-only


def test_every_route_of_a_read_only_console_that_changes_something_answers_403(local: ConsoleContext):
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


def test_bodies_are_limited(local: ConsoleContext):
    browser = Browser(build_app(local))
    assert browser.submit("/change", {"value": "x" * 70_000}).status_code == 413
    assert browser.submit("/try", {"photo": (io.BytesIO(b"x" * 1_000_000), "a")}).status_code == 200
    assert browser.submit("/try", {"photo": (io.BytesIO(b"x" * 20_000_001), "a")}).status_code == 413


@pytest.mark.parametrize("path", ["/", "/missing", "/static/console.css", "/fails"])
def test_every_response_has_the_headers(local: ConsoleContext, path: str):
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


def test_only_a_page_that_takes_photos_may_use_the_camera(local: ConsoleContext):
    response = Browser(build_app(local)).open("/try")
    assert response.headers["Permissions-Policy"].startswith("camera=(self),")
    assert "img-src 'self' blob:" in response.headers["Content-Security-Policy"]


def test_foreign_bytes_are_never_sent_with_a_type_that_could_execute(local: ConsoleContext):
    response = Browser(build_app(local)).open("/foreign.svg")
    assert response.data == SVG
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == "attachment"
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"] == "private, max-age=60"


def test_off_loopback_a_console_without_a_password_does_not_start(local: ConsoleContext):
    with pytest.raises(ConfigError, match="open to other machines") as found:
        create_app(replace(local, settings=ConsoleSettings(host="0.0.0.0")))
    assert found.value.hint == (
        "eaves up --console-host 0.0.0.0 --console-credentials console   # missing files are created"
    )


def test_a_person_logs_in_and_returns_to_the_page(browser: Browser):
    asked = browser.open("/poll?label=a%26b")
    assert (asked.status_code, asked.headers["Location"]) == (303, "/login?next=/poll?label%3Da%2526b")
    form = browser.open(asked.headers["Location"])
    wanted = re.search(r'name="next" value="([^"]*)"', form.text)
    assert wanted
    done = browser.log_in(f" {PASSWORD}\n", next=wanted[1])
    assert (done.status_code, done.headers["Location"]) == (303, "/poll?label=a%26b")
    assert browser.open("/poll").text == "news"
    assert "Log out" in browser.open("/").text


def test_the_cookie_is_bound_to_this_host_and_no_script_reads_it(browser: Browser):
    cookie = browser.log_in(PASSWORD).headers["Set-Cookie"]
    assert re.fullmatch(r"__Host-eaves-[0-9a-f]{8}=\S+; Expires=[^;]+; Secure; HttpOnly; Path=/; SameSite=Lax", cookie)


def test_a_password_on_loopback_needs_no_tls(guarded: ConsoleContext):
    context = replace(guarded, settings=replace(guarded.settings, host="127.0.0.1"))
    browser = Browser(build_app(context))
    cookie = browser.log_in(PASSWORD).headers["Set-Cookie"]
    assert cookie.startswith("eaves-")
    assert "Secure" not in cookie
    assert browser.open("/").status_code == 200


def test_off_loopback_plain_http_gets_nothing(app: Flask):
    browser = Browser(app, "http://line-3.example:8481")
    assert browser.open("/login").status_code == 403
    assert "https:// only" in browser.open("/login").text


@pytest.mark.parametrize("path", ["/", "/missing", "/parts/overview"])
def test_strangers_get_no_page_and_no_image(app: Flask, path: str):
    assert Browser(app, HTTPS).open(path).headers["Location"].startswith("/login?next=")
    image = app.test_client().get(path, base_url=HTTPS, headers={"Accept": "image/*"})
    assert image.status_code == 401
    assert app.test_client().post(path, base_url=HTTPS).status_code == 401


@pytest.mark.parametrize("password", ["", "a guess"])
def test_a_wrong_password_is_refused_and_logged_with_the_address(
    browser: Browser, password: str, caplog: pytest.LogCaptureFixture
):
    response = browser.log_in(password)
    assert response.status_code == 403
    assert "This is not the password." in response.text
    assert "a login from 127.0.0.1 failed" in caplog.text
    assert not password or password not in caplog.text
    assert "Set-Cookie" not in response.headers


def test_guesses_are_limited_even_when_the_last_one_is_right(browser: Browser, clock: ManualClock):
    for _ in range(5):
        assert browser.log_in("wrong").status_code == 403
    response = browser.log_in(PASSWORD)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "30")
    assert "Wait 30 seconds" in response.text
    clock.turn(30)
    assert browser.log_in(PASSWORD).status_code == 303


def test_guesses_of_others_never_keep_out_a_browser_that_logged_in_before(
    app: Flask, browser: Browser, guarded: ConsoleContext
):
    stranger, again = Browser(app, HTTPS), Browser(app, HTTPS)
    browser.log_in(PASSWORD)
    browser.submit("/logout")
    while stranger.log_in("a guess").status_code != 429:
        pass
    assert again.log_in(PASSWORD).status_code == 429, "all strangers share the guesses"
    assert [browser.log_in("a typo").status_code for _ in range(4)] == [403] * 4
    assert browser.log_in(PASSWORD).status_code == 303
    browser.submit("/logout")
    while browser.log_in("a guess").status_code != 429:
        pass  # a known browser's guesses are bounded too
    assert guarded.settings.credentials is not None
    (guarded.settings.credentials / "password").write_text("another password")
    assert browser.log_in("another password").status_code == 429, "with a new password it is a stranger"


def test_logins_with_the_right_password_are_not_limited(app: Flask):
    assert {Browser(app, HTTPS).log_in(PASSWORD).status_code for _ in range(60)} == {303}


def test_a_session_ends_after_a_shift_however_much_it_is_used(browser: Browser, clock: ManualClock):
    browser.log_in(PASSWORD)
    for _ in range(43):
        clock.turn(1_000)
        assert browser.open("/").status_code == 200
    assert "Set-Cookie" not in browser.open("/").headers
    clock.turn(200)
    assert browser.open("/").status_code == 303
    assert browser.fetch("/poll").status_code == 401


def test_a_logout_ends_the_session_and_every_copy_of_its_cookie(guarded: ConsoleContext, tmp_path: Path):
    first, copy = Browser(build_app(guarded), HTTPS), Browser(build_app(guarded), HTTPS)
    cookie = first.log_in(PASSWORD).headers["Set-Cookie"]
    name, _, value = cookie.partition(";")[0].partition("=")
    copy.client.set_cookie(name, value, domain="line-3.example", secure=True)
    assert copy.open("/").status_code == 200
    assert first.fetch("/parts/overview").status_code == 200
    done = first.submit("/logout")
    assert (done.status_code, done.headers["Location"]) == (303, "/login")
    assert done.headers["Clear-Site-Data"] == '"cache"'
    assert first.open("/").status_code == 303
    assert first.fetch("/parts/overview").status_code == 401
    after = Browser(build_app(guarded), HTTPS)  # the process has started again
    after.client.set_cookie(name, value, domain="line-3.example", secure=True)
    assert after.open("/").status_code == 303


def test_a_changed_password_ends_every_session(browser: Browser, guarded: ConsoleContext):
    browser.log_in(PASSWORD)
    folder = guarded.settings.credentials
    assert folder is not None
    (folder / "password").write_text("another password")
    assert browser.open("/").status_code == 303
    assert browser.fetch("/parts/overview").status_code == 401


@pytest.mark.parametrize("value", ["", "e30.x.y"])
def test_a_cookie_that_the_console_has_not_signed_is_no_session(browser: Browser, value: str):
    name = browser.log_in(PASSWORD).headers["Set-Cookie"].partition("=")[0]
    browser.client.set_cookie(name, value, domain="line-3.example", secure=True)
    assert browser.open("/").status_code == 303


def test_a_session_of_a_wrong_clocks_future_has_ended(browser: Browser, clock: ManualClock):
    browser.log_in(PASSWORD)
    clock.turn(-30)
    assert browser.open("/").status_code == 200
    clock.turn(-365 * 86_400)
    assert browser.open("/").status_code == 303


def test_a_form_token_of_another_session_is_refused(app: Flask):
    first, second = Browser(app, HTTPS), Browser(app, HTTPS)
    before = first.token("/login")
    first.log_in(PASSWORD)
    second.log_in(PASSWORD)
    assert first.submit("/change", token=second.token()).status_code == 403
    assert first.submit("/change", token=before).status_code == 403
    assert first.submit("/change").status_code == 200


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example", "/\\evil.example", "https://evil.example/", "/\tx", "/%0d%0a\r\nX: y",
    ],
)  # fmt: skip
def test_a_login_leads_to_no_other_site(browser: Browser, wanted: str):
    assert browser.log_in(PASSWORD, next=wanted).headers["Location"] == "/"


def test_the_login_form_needs_its_token(browser: Browser):
    assert browser.submit("/login", {"password": PASSWORD}, token="").status_code == 403
