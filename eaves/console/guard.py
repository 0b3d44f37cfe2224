"""Checks every request before its view runs, and completes every response.

A browser on this machine can be made to send requests to the console by a page of any site. It names the page's origin
(Origin) and its relation to the console (Sec-Fetch-Site), or, with DNS rebinding, uses that site's host name as Host.
Source: Fetch standard, section 3.1, `Origin`; W3C Fetch Metadata Request Headers.

There is no Strict-Transport-Security: it applies to a host and not to a port, and would lock people out of other
servers of the same machine that speak plain HTTP. This port speaks only TLS when it speaks TLS, and the cookies are
bound to it. The pages have no nonces and no hx-csp: scripts come from files only, no template has an inline handler,
and foreign text is escaped, so it can't become an htmx attribute.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Mapping
from datetime import timedelta

from flask import Blueprint, Flask, Response, g, redirect, render_template, request, session, url_for
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from eaves.base.clock import SYSTEM, Clock
from eaves.console.exposure import ConsoleSettings, check_exposure
from eaves.console.logins import ConsolePassword, LoginLimit, Logouts, load_signing_key
from eaves.ingress.wsgi import ADMIT
from eaves.origin import is_loopback, is_same_site

FORM_BYTES, UPLOAD_BYTES = 65_536, 20_000_000
"""Maximum size of a request's body, bytes: of forms, and of photos."""
FIELD, HEADER = "csrf_token", "X-CSRF-Token"
"""Form field and header of the form token."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing. Source: RFC 9110, section 9.2.1."""
CLOCK_S = 60.0
"""Time by which a session may begin in the future, seconds: a clock that was corrected since the login. Sessions of a
later future end, as a wrong clock would let them live longer than intended."""
KNOWN_DAYS = 365
"""Time after its last login for which a browser is known to the limit of logins, days; its session ends far earlier."""
OUT_OF_DATE = "This page is out of date. Load it again, and repeat what you did."
READ_ONLY = "This console is read-only, so it changes nothing."
FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Real-Ip")
"""Headers that a proxy adds. Source: RFC 7239, section 4; RFC 9110, section 7.6.3."""
_OWN = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site of requests by the console's own pages and by a person, such as a typed address."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'{images}; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'{more}"
)
PAGE_POLICY = _POLICY.format(images="", more="")
"""Content-Security-Policy of pages. Source: CSP level 3."""
CAMERA_POLICY = _POLICY.format(images=" blob:", more="; media-src 'self' blob:")
"""Policy of pages that show a photo before it is sent."""
FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
"""Policy of images and other files, in case that a browser opens one as a page. An icon may have its own style."""
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
"""Policy of the page that a training wrote, maybe on another machine: it runs nothing and sends nothing."""
TYPES = frozenset({
    "text/html", "text/plain", "text/css", "text/csv", "text/javascript",
    "application/json", "application/problem+json", "application/octet-stream",
    "image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp",
})  # fmt: skip
"""Media types of responses. Foreign bytes with another one, such as `image/svg+xml`, which can hold scripts, are sent
as a download."""
FIXED = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every response. With `no-referrer`, browsers would send `Origin: null` with forms.
Source: Fetch standard, section 3.1, "append a request Origin header"."""
_UNUSED = "microphone=(), geolocation=(), display-capture=(), payment=(), usb=()"

_log = logging.getLogger(__name__)


PUBLIC = frozenset({"static", "login.show", "login.log_in"})
"""Endpoints that answer a person who hasn't logged in. Files of the `static` folder are part of the login page."""
CHANGES_NOTHING = frozenset({"login.log_in", "login.log_out", "try_it.predict"})
"""Endpoints that take a POST but store and send nothing, so a read-only console answers them."""
ASKS_FIRST = frozenset({"dead_letters.ask_delete", "functions.confirm", "models.deploy"})
"""Endpoints of pages that ask before a change, which a read-only console doesn't show."""
UPLOADS = frozenset({"try_it.predict", "labels.add", "labels.import_labels", "labels.put"})
"""Endpoints that take photos, files of labels, or the names of a large pile; other ones take small forms only."""
CAMERAS = frozenset({"try_it.show", "try_it.predict"})
"""Endpoints whose page may use the device's camera."""


def install_guard(app: Flask, settings: ConsoleSettings, clock: Clock = SYSTEM) -> None:
    """Let every request pass a guard, give templates `csrf_token`, `csrf_field` and `is_logged_in`, and add the login.

    Args:
        app: The console's app, without requests so far.
        settings: Settings of the console.
        clock: Clock for sessions and for the limit of logins.

    Raises:
        ConfigError: When other machines could open the console without a password, or the password can't be used.
        StorageError: When the key of signatures can't be read or written.
    """
    guard = Guard(app, settings, clock)
    app.before_request(guard.check)
    app.after_request(guard.complete)
    app.jinja_env.globals.update(
        csrf_token=guard.form_token,
        csrf_field=lambda: Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, guard.form_token()),
        is_logged_in=guard.is_logged_in,
    )
    app.register_blueprint(build_login_pages(guard))


class ConsoleSessions(SecureCookieSessionInterface):
    """Flask's signed cookie. `__Host-` binds it to TLS and this host. Source: RFC 6265bis, section 4.1.3.2."""

    def get_cookie_name(self, app: Flask) -> str:
        """Return the name of the cookie."""
        return f"{'__Host-' if request.is_secure else ''}{app.config['SESSION_COOKIE_NAME']}"

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return whether a browser sends the cookie by TLS only."""
        return request.is_secure

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Set the cookie when the session has changed; `Vary: Cookie` would make browsers load every picture again."""
        if session.modified:
            super().save_session(app, session, response)


class Guard:
    """Decides whether a request may reach its view. Safe to use from many threads. See `install_guard`."""

    def __init__(self, app: Flask, settings: ConsoleSettings, clock: Clock) -> None:
        check_exposure(settings)
        self._settings = settings
        self._clock = clock
        self._key = load_signing_key(settings.state)
        self._password = None if settings.credentials is None else ConsolePassword(settings.credentials, self._key)
        self._logouts = Logouts(settings.state)
        self._limit = LoginLimit(clock)
        app.session_interface = ConsoleSessions()
        app.secret_key = self._key
        app.config.update(
            # Browsers share cookies between all ports of a host, so the name tells two consoles apart.
            SESSION_COOKIE_NAME=f"eaves-{hashlib.sha256(self._key).hexdigest()[:8]}",
            SESSION_COOKIE_SAMESITE="Lax",
            SESSION_REFRESH_EACH_REQUEST=False,
            PERMANENT_SESSION_LIFETIME=timedelta(days=KNOWN_DAYS),
        )

    @property
    def needs_login(self) -> bool:
        """Whether pages need a password."""
        return self._password is not None

    def is_logged_in(self) -> bool:
        """Return whether the present request belongs to a session."""
        return bool(g.get("is_logged_in", False))

    def check(self) -> Response | None:
        """Return the response that refuses the present request; None when its view may answer it."""
        request.max_content_length = UPLOAD_BYTES if request.endpoint in UPLOADS else FORM_BYTES
        if not self._settings.is_local and not request.is_secure:
            return refuse(403, "This page is available by https:// only.")
        if reason := find_foreign_caller(request.method, dict(request.headers), loopback_only=self._password is None):
            return refuse(403, reason)
        if refusal := self._check_login():
            return refusal
        changes = request.method not in SAFE
        if self._settings.read_only and (
            request.endpoint in ASKS_FIRST or (changes and request.endpoint not in CHANGES_NOTHING)
        ):
            return refuse(403, READ_ONLY)
        return None if not changes or self._has_form_token() else refuse(403, OUT_OF_DATE)

    def log_in(self, password: str) -> tuple[str, int]:
        """Begin a session for the present request if the password is right.

        Returns:
            Why there is none, in words, and the time after which another attempt may be made, seconds; empty and 0 when
            the person is logged in.
        """
        if self._password is None:
            return "", 0
        address, now, version = request.remote_addr or "", int(self._clock.now()), self._password.version
        browser = str(session.get("browser", ""))
        if not browser.endswith(version):
            browser = ""  # a new password makes every browser a stranger
        if wait_s := self._limit.take(browser):
            return f"Too many attempts. Wait {wait_s} seconds, then try again.", wait_s
        if not self._password.matches(password.strip()):
            _log.warning("a login from %s failed: wrong password", address)
            return "This is not the password.", 0
        self._limit.give_back(browser)
        session.clear()
        session.permanent = True
        session.update(id=secrets.token_urlsafe(16), since=now, password=version)
        session["browser"] = browser or f"{secrets.token_urlsafe(16)} {version}"
        _log.info("a person at %s has logged in", address)
        return "", 0

    def log_out(self) -> None:
        """End the session of the present request, and every copy of its cookie."""
        if self.is_logged_in():
            until = session["since"] + self._settings.session_s
            self._logouts.add(session["id"], until=until, now=self._clock.now())
            for name in ("id", "since", "password"):  # the browser stays known to the limit of logins
                del session[name]
            g.is_logged_in, g.is_logged_out = False, True

    def form_token(self) -> str:
        """Return the form token of the present session; without a password it is the same for all browsers.

        A page of another site can't read it, so it can't send it.
        """
        name = session["id"] if self.is_logged_in() else ""
        return hmac.digest(self._key, f"form {name}".encode(), "sha256").hex()[:32]

    def complete(self, response: Response) -> Response:
        """Add headers to a response; a Cache-Control or policy of its own is kept."""
        headers, uses_camera = response.headers, request.endpoint in CAMERAS
        if g.get("is_logged_out", False):
            headers["Clear-Site-Data"] = '"cache"'
        headers.update(FIXED)
        headers["Permissions-Policy"] = f"camera={'(self)' if uses_camera else '()'}, {_UNUSED}"
        if request.endpoint != "static" and response.mimetype not in TYPES and response.status_code == 200:
            response.content_type = "application/octet-stream"
            headers["Content-Disposition"] = "attachment"
        page_policy = CAMERA_POLICY if uses_camera else PAGE_POLICY
        headers.setdefault("Content-Security-Policy", page_policy if response.mimetype == "text/html" else FILE_POLICY)
        headers.setdefault("Cache-Control", "no-store")
        return response

    def _check_login(self) -> Response | None:
        if self._password is not None:
            if not self._is_session_valid(self._password.version):
                return None if request.endpoint in PUBLIC else ask_to_log_in()
            g.is_logged_in = True
        request.environ.get(ADMIT, bool)()  # the server closes connections of strangers first
        return None

    def _is_session_valid(self, version: str) -> bool:
        """Return whether the present session was begun with this version of the password, and hasn't ended."""
        if session.get("password") != version or session["id"] in self._logouts:
            return False
        age_s = self._clock.now() - session["since"]
        return bool(-CLOCK_S <= age_s < self._settings.session_s)

    def _has_form_token(self) -> bool:
        """Return whether the request has its session's token. The header counts before the form, which may be large."""
        given = request.headers.get(HEADER) or request.form.get(FIELD, "")
        return hmac.compare_digest(given.encode(), self.form_token().encode())


def refuse(status: int, text: str, **headers: str) -> Response:
    """Build a refusal: a fragment for htmx, a page for people, and text for programs.

    Args:
        status: HTTP status.
        text: Why, as a sentence.
        headers: Further headers, with `_` in a name for `-`.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if not wants_page():
        return Response(f"{text}\n", status, named, mimetype="text/plain")
    body = render_template("security/refusal.html", text=text, is_fragment="HX-Request" in request.headers)
    return Response(body, status, named)


def ask_to_log_in() -> Response:
    """Build the response to a request without a session.

    The page that has sent an htmx request loads itself again, and that request leads to the login form.
    """
    if "HX-Request" in request.headers:
        return refuse(401, "Log in again.", HX_Refresh="true")
    if not wants_page():
        return refuse(401, "Log in with a browser.")
    wanted = request.full_path.removesuffix("?") if request.method in SAFE else "/"
    return Response(status=303, headers={"Location": url_for("login.show", next=wanted)})


def wants_page() -> bool:
    """Return whether the present request accepts HTML."""
    return "text/html" in request.headers.get("Accept", "")


def find_foreign_caller(method: str, headers: Mapping[str, str], *, loopback_only: bool) -> str:
    """Return why a request may come from a page of another site or by a proxy; empty when it doesn't.

    A link from another site to a page of the console is allowed: the browser shows that page at the top level, the
    other site can't read it, and a GET changes nothing.

    Args:
        method: HTTP method.
        headers: Headers of the request by name, such as `Sec-Fetch-Site`.
        loopback_only: Whether only programs of this machine may call, because no password is needed.
    """
    host = headers.get("Host", "")
    if loopback_only:
        if not is_loopback(f"//{host}"):
            return f"Only programs on this machine may open this page (Host is {host[:80]!r})."
        if named := next((name for name in FORWARDED if name in headers), None):
            return f"This page has no password, so it may not be opened through a proxy (the request has {named})."
    origin = headers.get("Origin")
    if origin is not None and not is_same_site(host, origin):
        return f"A page of another site sent this request (Origin is {origin[:80]!r})."
    site = headers.get("Sec-Fetch-Site", "none")
    is_page = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    if site not in _OWN and not (is_page and method in {"GET", "HEAD"}):
        return f"A page of another site sent this request (Sec-Fetch-Site is {site[:20]!r})."
    return ""


OWN_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]{0,2000}")
r"""A path of this server. Browsers read `\` as `/` and ignore line breaks and tabs, so `/\host` leads to another host.
Source: URL standard, section 4.4."""


def build_login_pages(guard: Guard) -> Blueprint:
    """Build the login form, and the routes that begin and end a session."""
    pages = Blueprint("login", __name__)

    def render_form(status: int, fault: str = "", **headers: str) -> Response:
        body = render_template("login/show.html", fault=fault, next=request.values.get("next", ""))
        return Response(body, status, headers)

    @pages.get("/login")
    def show() -> AnyResponse:
        if not guard.needs_login or guard.is_logged_in():
            return redirect(_return_address(), 303)
        return render_form(200)

    @pages.post("/login")
    def log_in() -> AnyResponse:
        fault, wait_s = guard.log_in(request.form.get("password", ""))
        if wait_s:
            return render_form(429, fault, **{"Retry-After": str(wait_s)})
        return render_form(403, fault) if fault else redirect(_return_address(), 303)

    @pages.post("/logout")
    def log_out() -> AnyResponse:
        guard.log_out()
        return redirect(url_for("login.show"), 303)

    return pages


def _return_address() -> str:
    """Return the page that a person wanted; the first page when the address isn't one of this console's."""
    wanted = request.values.get("next", "")
    return wanted if OWN_PATH.fullmatch(wanted) else "/"
