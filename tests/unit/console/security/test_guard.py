"""What the guard lets through, by real requests to the console's app."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Blueprint, Flask, request

from eaves.console.app import create_app
from eaves.console.context import ConsoleContext
from eaves.console.security import Mark, SecuritySettings, marked
from eaves.console.settings import ConsoleSettings
from eaves.errors import ConfigError
from eaves.platform import FunctionStatus
from tests.fakes.clock import ManualClock
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.browser import Browser

PASSWORD = "three random words"
TOKEN = "c2l4dGVlbiBieXRlcyE="
HTTPS = "https://line-3.example:8481"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


def build_pages() -> Blueprint:
    """Build pages of each kind, as other modules have them."""
    pages = Blueprint("sample", __name__)

    @pages.post("/change")
    def change() -> str:
        return f"changed {request.form.get('value', '')[:10]}"

    @pages.post("/predict")
    @marked(Mark.UPLOAD, Mark.CHANGES_NOTHING, Mark.CAMERA)
    def predict() -> str:
        return str(len(request.files["photo"].read()))

    @pages.get("/poll")
    @marked(Mark.BACKGROUND)
    def poll() -> str:
        return "news"

    @pages.get("/foreign.svg")
    def foreign() -> tuple[bytes, dict[str, str]]:
        return SVG, {"Content-Type": "image/svg+xml", "Cache-Control": "private, max-age=60"}

    @pages.get("/fails")
    def fails() -> str:
        raise RuntimeError("a bug")

    return pages


def build_app(context: ConsoleContext) -> Flask:
    app = create_app(context)
    app.register_blueprint(build_pages())
    return app


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def local(clock: ManualClock) -> ConsoleContext:
    backend = FakeBackend(functions=[FunctionStatus(name="flowers", state="ready")])
    return ConsoleContext(backend=backend, settings=ConsoleSettings(), clock=clock)


@pytest.fixture
def guarded(local: ConsoleContext, tmp_path: Path) -> ConsoleContext:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    (tmp_path / "token").write_text(TOKEN)
    return replace(local, security=SecuritySettings(host="0.0.0.0", credentials=tmp_path, state=tmp_path))


@pytest.fixture
def app(guarded: ConsoleContext) -> Flask:
    return build_app(guarded)


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app, HTTPS)


# Without a password, on loopback


def test_on_loopback_pages_need_no_password(local: ConsoleContext) -> None:
    browser = Browser(build_app(local))
    assert browser.open("/").status_code == 200
    assert browser.submit("/change", {"value": "x"}).text == "changed x"
    assert browser.open("/login").headers["Location"] == "/"
    assert "Log out" not in browser.open("/").text
    assert "Set-Cookie" not in browser.open("/").headers


@pytest.mark.parametrize("path", ["/", "/missing", "/static/console.css", "/poll", "/login"])
def test_a_rebound_host_reads_nothing(local: ConsoleContext, path: str) -> None:
    response = Browser(build_app(local), "http://evil.example:8481").open(path)
    assert response.status_code == 403
    assert "Only programs on this machine" in response.text


@pytest.mark.parametrize("token", ["", "0" * 32, "\u00e9"])
def test_a_form_without_its_token_changes_nothing(local: ConsoleContext, token: str) -> None:
    response = Browser(build_app(local)).submit("/change", token=token)
    assert response.status_code == 403
    assert "out of date" in response.text


def test_a_token_in_the_header_is_enough(local: ConsoleContext) -> None:
    browser = Browser(build_app(local))
    token = browser.token()
    assert browser.submit("/change", token="", X_CSRF_Token=token).status_code == 200
    assert browser.submit("/change", token=token, X_CSRF_Token="wrong").status_code == 403


def test_a_page_of_another_site_changes_nothing_even_with_a_token(local: ConsoleContext) -> None:
    browser = Browser(build_app(local))
    assert browser.submit("/change", Origin="http://evil.example").status_code == 403
    assert browser.submit("/change", Sec_Fetch_Site="cross-site").status_code == 403


def test_a_page_that_stays_open_works_after_the_process_has_started_again(
    local: ConsoleContext, tmp_path: Path
) -> None:
    context = replace(local, security=SecuritySettings(state=tmp_path))
    token = Browser(build_app(context)).token()
    assert Browser(build_app(context)).submit("/change", token=token).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "BREW"])
def test_every_method_that_could_change_something_needs_the_token(local: ConsoleContext, method: str) -> None:
    response = build_app(local).test_client().open("/change", method=method)
    assert response.status_code == 403


# With a password


def test_off_loopback_a_console_without_a_password_does_not_start(local: ConsoleContext) -> None:
    with pytest.raises(ConfigError, match="open to other machines") as found:
        create_app(replace(local, security=SecuritySettings(host="0.0.0.0")))
    assert found.value.hint == (
        "eaves up --console-host 0.0.0.0 --console-credentials console   # missing files are created"
    )


def test_a_person_logs_in_and_returns_to_the_page(browser: Browser) -> None:
    asked = browser.open("/poll?label=a%26b")
    assert (asked.status_code, asked.headers["Location"]) == (303, "/login?next=/poll?label%3Da%2526b")
    form = browser.open(asked.headers["Location"])
    wanted = re.search(r'name="next" value="([^"]*)"', form.text)
    assert wanted
    done = browser.log_in(f" {PASSWORD}\n", next=wanted[1])
    assert (done.status_code, done.headers["Location"]) == (303, "/poll?label=a%26b")
    assert browser.open("/poll").text == "news"
    assert "Log out" in browser.open("/").text


def test_the_cookie_is_bound_to_this_host_and_no_script_reads_it(browser: Browser) -> None:
    cookie = browser.log_in(PASSWORD).headers["Set-Cookie"]
    assert re.fullmatch(
        r"__Host-eaves-[0-9a-f]{8}=\S+; Expires=[^;]+; Max-Age=43200; Secure; HttpOnly; Path=/; SameSite=Strict", cookie
    )


def test_a_password_on_loopback_needs_no_tls(guarded: ConsoleContext) -> None:
    context = replace(guarded, security=replace(guarded.security, host="127.0.0.1"))
    browser = Browser(build_app(context))
    cookie = browser.log_in(PASSWORD).headers["Set-Cookie"]
    assert cookie.startswith("eaves-")
    assert "Secure" not in cookie
    assert browser.open("/").status_code == 200


def test_off_loopback_plain_http_gets_nothing(app: Flask) -> None:
    browser = Browser(app, "http://line-3.example:8481")
    assert browser.open("/login").status_code == 403
    assert "https:// only" in browser.open("/login").text


@pytest.mark.parametrize("path", ["/", "/poll", "/missing", "/foreign.svg", "/stream/overview", "/fails"])
def test_strangers_get_no_page_no_image_and_no_stream(app: Flask, path: str) -> None:
    assert Browser(app, HTTPS).open(path).headers["Location"].startswith("/login?next=")
    image = app.test_client().get(path, base_url=HTTPS, headers={"Accept": "image/*"})
    assert image.status_code == 401
    assert image.headers["WWW-Authenticate"].startswith("Bearer")
    assert app.test_client().post(path, base_url=HTTPS).status_code == 401


def test_a_fragment_after_the_end_of_a_session_loads_the_page_again(browser: Browser) -> None:
    response = browser.fetch("/poll")
    assert (response.status_code, response.headers["HX-Refresh"]) == (401, "true")
    assert "<html" not in response.text


def test_a_link_on_another_site_keeps_the_session(browser: Browser) -> None:
    response = browser.open("/poll", Sec_Fetch_Site="cross-site")
    assert response.status_code == 200
    assert '<meta http-equiv="refresh" content="0;url=/login?next=/poll">' in response.text
    browser.log_in(PASSWORD)
    assert browser.open("/login?next=/poll", Sec_Fetch_Site="same-origin").headers["Location"] == "/poll"


@pytest.mark.parametrize("password", ["", "a guess", PASSWORD.upper(), "x" * 60_000])
def test_a_wrong_password_is_refused_and_logged_with_the_address(
    browser: Browser, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    response = browser.log_in(password)
    assert response.status_code == 403
    assert "This is not the password." in response.text
    assert "a login from 127.0.0.1 failed" in caplog.text
    assert not password or password not in caplog.text
    assert "Set-Cookie" not in response.headers


def test_guesses_are_limited_even_when_the_last_one_is_right(browser: Browser, clock: ManualClock) -> None:
    for _ in range(5):
        assert browser.log_in("wrong").status_code == 403
    response = browser.log_in(PASSWORD)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "30")
    assert "Wait 30 seconds" in response.text
    clock.turn(30)
    assert browser.log_in(PASSWORD).status_code == 303


def test_logins_with_the_right_password_are_not_limited(app: Flask) -> None:
    assert {Browser(app, HTTPS).log_in(PASSWORD).status_code for _ in range(60)} == {303}


def test_a_session_ends_when_nobody_uses_it(browser: Browser, clock: ManualClock) -> None:
    browser.log_in(PASSWORD)
    for _ in range(5):
        clock.turn(7_000)
        assert browser.open("/").status_code == 200
    clock.turn(7_200)
    assert browser.open("/").status_code == 303


def test_a_page_that_only_stays_open_does_not_prolong_its_session(browser: Browser, clock: ManualClock) -> None:
    browser.log_in(PASSWORD)
    for _ in range(7):
        clock.turn(1_000)
        assert browser.fetch("/poll").status_code == 200
        assert browser.fetch("/", X_Background="1").status_code == 200
        assert browser.open("/static/console.css").status_code == 200
    clock.turn(200)
    assert browser.fetch("/poll").status_code == 401


def test_a_session_ends_after_a_shift_however_much_it_is_used(browser: Browser, clock: ManualClock) -> None:
    browser.log_in(PASSWORD)
    for _ in range(43):
        clock.turn(1_000)
        assert browser.open("/").status_code == 200
    clock.turn(200)
    assert browser.open("/").status_code == 303


def test_a_logout_ends_the_session_its_streams_and_every_copy_of_its_cookie(
    guarded: ConsoleContext, tmp_path: Path
) -> None:
    first, copy = Browser(build_app(guarded), HTTPS), Browser(build_app(guarded), HTTPS)
    cookie = first.log_in(PASSWORD).headers["Set-Cookie"]
    name, _, value = cookie.partition(";")[0].partition("=")
    copy.client.set_cookie(name, value, domain="line-3.example", secure=True)
    assert copy.open("/").status_code == 200
    done = first.submit("/logout")
    assert (done.status_code, done.headers["Location"]) == (303, "/login")
    assert done.headers["Clear-Site-Data"] == '"cache"'
    assert first.open("/").status_code == 303
    after = Browser(build_app(guarded), HTTPS)  # the process has started again
    after.client.set_cookie(name, value, domain="line-3.example", secure=True)
    assert after.open("/").status_code == 303


def test_a_changed_password_ends_every_session(browser: Browser, guarded: ConsoleContext) -> None:
    browser.log_in(PASSWORD)
    folder = guarded.security.credentials
    assert folder is not None
    (folder / "password").write_text("another password")
    assert browser.open("/").status_code == 303


def test_a_session_survives_the_process(browser: Browser, guarded: ConsoleContext) -> None:
    name, _, value = browser.log_in(PASSWORD).headers["Set-Cookie"].partition(";")[0].partition("=")
    again = Browser(build_app(guarded), HTTPS)
    again.client.set_cookie(name, value, domain="line-3.example", secure=True)
    assert again.open("/").status_code == 200


def test_a_form_token_of_another_session_is_refused(app: Flask) -> None:
    first, second = Browser(app, HTTPS), Browser(app, HTTPS)
    before = first.token("/login")
    first.log_in(PASSWORD)
    second.log_in(PASSWORD)
    assert first.submit("/change", token=second.token()).status_code == 403
    assert first.submit("/change", token=before).status_code == 403
    assert first.submit("/change").status_code == 200


def test_a_program_sends_its_token_and_needs_no_form_token(app: Flask) -> None:
    client, headers = app.test_client(), {"Authorization": f"Bearer {TOKEN}"}
    for _ in range(20):
        assert client.post("/change", base_url=HTTPS, headers=headers).status_code == 200
    assert "Set-Cookie" not in client.get("/", base_url=HTTPS, headers=headers).headers


def test_wrong_tokens_are_limited(app: Flask) -> None:
    client = app.test_client()
    found = [
        client.get("/", base_url=HTTPS, headers={"Authorization": f"Bearer {number:020}"}).status_code
        for number in range(7)
    ]
    assert found == [401] * 5 + [429] * 2
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/", base_url=HTTPS, headers=right).status_code == 429


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example", "/\\evil.example", "https://evil.example/", "evil", "/\tx", "/%0d%0a\r\nX: y", "", "/é",
        "/" + "a" * 3_000, "javascript:alert(1)", "\\\\evil.example", "///evil.example",
    ],
)  # fmt: skip
def test_a_login_leads_to_no_other_site(browser: Browser, wanted: str) -> None:
    assert browser.log_in(PASSWORD, next=wanted).headers["Location"] == "/"


def test_the_login_form_needs_its_token(browser: Browser) -> None:
    assert browser.submit("/login", {"password": PASSWORD}, token="").status_code == 403


# Read-only


@pytest.fixture
def read_only(local: ConsoleContext) -> Browser:
    return Browser(build_app(replace(local, settings=ConsoleSettings(read_only=True))))


def test_a_read_only_console_changes_nothing(read_only: Browser) -> None:
    response = read_only.submit("/change")
    assert response.status_code == 403
    assert "read-only" in response.text


def test_a_read_only_console_predicts(read_only: Browser) -> None:
    assert read_only.submit("/predict", {"photo": (io.BytesIO(b"x" * 9), "a.jpg")}).text == "9"


def test_the_page_try_it_takes_photos_also_when_the_console_is_read_only(read_only: Browser) -> None:
    page = read_only.open("/try")
    assert page.headers["Permissions-Policy"].startswith("camera=(self),")
    photo = (io.BytesIO(b"x" * 1_000_000), "a.jpg")
    response = read_only.submit("/try", {"function": "roses", "photo": photo})
    assert response.status_code == 200
    assert "There is no such function." in response.text


def test_every_route_of_a_read_only_console_that_changes_something_answers_403(local: ConsoleContext) -> None:
    app = create_app(replace(local, settings=ConsoleSettings(read_only=True)))
    browser = Browser(app)
    token = browser.token()
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if Mark.CHANGES_NOTHING in getattr(view, "console_marks", ()):
            continue
        path = re.sub(r"<[^>]+>", "1", rule.rule)
        for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}:
            response = browser.client.open(path, method=method, base_url=browser.url, headers={"X-CSRF-Token": token})
            assert response.status_code == 403, f"{method} {path}"


# Limits and headers


def test_bodies_are_limited(local: ConsoleContext) -> None:
    browser = Browser(build_app(local))
    assert browser.submit("/change", {"value": "x" * 70_000}).status_code == 413
    assert browser.submit("/predict", {"photo": (io.BytesIO(b"x" * 1_000_000), "a")}).text == "1000000"
    assert browser.submit("/predict", {"photo": (io.BytesIO(b"x" * 20_000_001), "a")}).status_code == 413


@pytest.mark.parametrize("path", ["/", "/missing", "/login", "/static/console.css", "/poll", "/fails", "/foreign.svg"])
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
    response = Browser(build_app(local)).submit("/predict", {"photo": (io.BytesIO(b"x"), "a")})
    assert response.headers["Permissions-Policy"].startswith("camera=(self),")
    assert "img-src 'self' blob:" in response.headers["Content-Security-Policy"]


def test_foreign_bytes_are_never_sent_with_a_type_that_could_execute(local: ConsoleContext) -> None:
    response = Browser(build_app(local)).open("/foreign.svg")
    assert response.data == SVG
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == "attachment"
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"] == "private, max-age=60"
