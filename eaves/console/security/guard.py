"""Checks every request before its view runs, and completes every response."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import cast

from flask import Flask, Response, g, request
from markupsafe import Markup

from eaves.base.clock import SYSTEM, Clock
from eaves.console.security.credentials import ConsoleCredentials
from eaves.console.security.headers import add_headers
from eaves.console.security.logouts import Logouts
from eaves.console.security.marks import Mark, find_marks
from eaves.console.security.origins import find_foreign_caller
from eaves.console.security.rate_limit import LoginLimit
from eaves.console.security.refusals import READ_ONLY, SAFE, ask_to_log_in, demand_token, refuse, wants_page
from eaves.console.security.sessions import LoginSession, begin_session, left_s, parse_session, renew, sign_session
from eaves.console.security.settings import SecuritySettings, check_exposure
from eaves.console.security.signing_key import load_signing_key
from eaves.ingress.wsgi import ADMIT

FORM_BYTES, UPLOAD_BYTES = 65_536, 20_000_000
"""Maximum size of a request's body, bytes: of forms, and of photos."""
FIELD, HEADER = "csrf_token", "X-CSRF-Token"
"""Form field and header of the form token."""
BACKGROUND = "X-Background"
"""Header of requests that a page sends by itself to a view that people request as well."""
OUT_OF_DATE = "This page is out of date. Load it again, and repeat what you did."

_log = logging.getLogger(__name__)


class Attempt(Enum):
    """Result of an attempt to log in."""

    RIGHT, WRONG, TOO_MANY = range(3)


def install_security(
    app: Flask,
    settings: SecuritySettings,
    *,
    read_only: bool = False,
    end_streams: Callable[[str], None] = lambda _: None,
    clock: Clock = SYSTEM,
) -> Guard:
    """Let every request pass a guard, and give templates `csrf_token`, `csrf_field` and `is_logged_in`.

    Args:
        app: The console's app, without requests so far.
        settings: Who may open the console.
        read_only: Whether every change is refused.
        end_streams: Ends the streams of a session, by its id.
        clock: Clock for sessions and for the limit of logins.

    Raises:
        ConfigError: When other machines could open the console without a password, or the password can't be used.
        StorageError: When the key of signatures can't be read or written.
    """
    guard = Guard(app, settings, read_only=read_only, end_streams=end_streams, clock=clock)
    app.before_request(guard.check)
    app.after_request(guard.complete)
    app.jinja_env.globals.update(
        csrf_token=guard.form_token,
        csrf_field=guard.form_field,
        is_logged_in=guard.is_logged_in,
    )
    return guard


class Guard:
    """Decides whether a request may reach its view. Safe to use from many threads. See `install_security`."""

    def __init__(
        self,
        app: Flask,
        settings: SecuritySettings,
        *,
        read_only: bool,
        end_streams: Callable[[str], None],
        clock: Clock,
    ) -> None:
        check_exposure(settings)
        self._app = app
        self._settings = settings
        self._is_read_only = read_only
        self._end_streams = end_streams
        self._clock = clock
        self._credentials = None if settings.credentials is None else ConsoleCredentials(settings.credentials)
        self._key = load_signing_key(settings.state)
        self._logouts = Logouts(settings.state)
        self._limit = LoginLimit(clock)

    @property
    def needs_login(self) -> bool:
        """Whether pages need a password."""
        return self._credentials is not None

    def is_logged_in(self) -> bool:
        """Return whether the present request belongs to a session."""
        return _session() is not None

    def check(self) -> Response | None:
        """Return the response that refuses the present request; None when its view may answer it."""
        marks = find_marks(self._app, request.endpoint)
        request.max_content_length = UPLOAD_BYTES if Mark.UPLOAD in marks else FORM_BYTES
        if not self._settings.is_local and not request.is_secure:
            return refuse(403, "This page is available by https:// only.")
        if reason := find_foreign_caller(
            request.method, dict(request.headers), loopback_only=self._credentials is None
        ):
            return refuse(403, reason)
        if (refusal := self._check_login(marks)) or request.method in SAFE:
            return refusal
        if self._is_read_only and Mark.CHANGES_NOTHING not in marks:
            return refuse(403, READ_ONLY)
        return None if self._has_form_token() else refuse(403, OUT_OF_DATE)

    def log_in(self, password: str) -> tuple[Attempt, int]:
        """Begin a session for the present request if the password is right.

        Returns:
            The result, and the time after which another attempt may be made, seconds.
        """
        if self._credentials is None:
            return Attempt.RIGHT, 0
        address = request.remote_addr or ""
        if wait_s := self._limit.take(address):
            return Attempt.TOO_MANY, wait_s
        if not self._credentials.has_password(password.strip()):
            _log.warning("a login from %s failed: wrong password", address)
            return Attempt.WRONG, 0
        self._limit.give_back(address)
        g.session = g.session_to_set = begin_session(self._clock.now())
        _log.info("a person at %s has logged in", address)
        return Attempt.RIGHT, 0

    def log_out(self) -> None:
        """End the session of the present request, its streams, and every copy of its cookie."""
        session = _session()
        if session is None:
            return
        until = session.since + self._settings.session_s
        self._logouts.add(session.id, until=until, now=self._clock.now())
        self._end_streams(session.id)
        g.session, g.is_logged_out = None, True

    def form_token(self) -> str:
        """Return the form token of the present session; without a password it is the same for all browsers.

        A page of another site can't read it, so it can't send it.
        """
        session = _session()
        return self._key.derive("form", session.id.encode() if session else b"").hex()[:32]

    def form_field(self) -> Markup:
        """Return the hidden field of a form that holds its token."""
        return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, self.form_token())

    def complete(self, response: Response) -> Response:
        """Add cookies and headers to a response."""
        marks = find_marks(self._app, request.endpoint)
        self._set_cookies(response, marks)
        add_headers(response, is_own_file=request.endpoint == "static", uses_camera=Mark.CAMERA in marks)
        return response

    def _check_login(self, marks: frozenset[Mark]) -> Response | None:
        if self._credentials is None:
            return None
        if "Authorization" in request.headers and Mark.PUBLIC not in marks:
            return self._check_token(self._credentials)
        session = parse_session(request.cookies.get(self._cookie, ""), self._session_key())
        left = 0.0
        if session and session.id not in self._logouts:
            limits = self._settings
            left = left_s(session, self._clock.now(), session_s=limits.session_s, idle_s=limits.idle_s)
        if session and left:
            g.session, g.session_id, g.session_left_s = session, session.id, left
            version = self._credentials.version()
            g.is_still_allowed = partial(self._credentials.has_version, version)
            _admit()
            return None
        return None if Mark.PUBLIC in marks else ask_to_log_in()

    def _check_token(self, credentials: ConsoleCredentials) -> Response | None:
        address = request.remote_addr or ""
        if wait_s := self._limit.take(address):
            return refuse(429, "Too many wrong tokens came from this address.", Retry_After=str(wait_s))
        if not credentials.has_token(request.headers["Authorization"]):
            _log.warning("a program at %s has sent a wrong token", address)
            return demand_token()
        self._limit.give_back(address)
        g.is_program = True
        g.is_still_allowed = partial(credentials.has_token, request.headers["Authorization"])
        _admit()
        return None

    def _has_form_token(self) -> bool:
        """Return whether the request has its session's token. The header counts before the form, which may be large."""
        if g.get("is_program", False):
            return True  # no browser sends a token by itself
        given = request.headers.get(HEADER) or request.form.get(FIELD, "")
        return hmac.compare_digest(given.encode(), self.form_token().encode())

    def _set_cookies(self, response: Response, marks: frozenset[Mark]) -> None:
        session: LoginSession | None = g.get("session_to_set")
        if session is None and (current := _session()) and _is_by_person(marks):
            session = renew(current, self._clock.now(), idle_s=self._settings.idle_s)
        is_secure = request.is_secure
        if g.get("is_logged_out", False):
            response.delete_cookie(self._cookie, secure=is_secure, httponly=True, samesite="Strict")
            response.headers["Clear-Site-Data"] = '"cache"'
        elif session is not None:
            age_s = int(session.since + self._settings.session_s - self._clock.now())
            value = sign_session(session, self._session_key())
            response.set_cookie(
                self._cookie, value, max_age=age_s, path="/", secure=is_secure, httponly=True, samesite="Strict"
            )

    @property
    def _cookie(self) -> str:
        """Name of the cookie: `__Host-` binds it to TLS and this host. Source: RFC 6265bis, section 4.1.3.2."""
        return f"{'__Host-' if request.is_secure else ''}eaves-{self._key.name}"

    def _session_key(self) -> bytes:
        return self._key.derive("session", self._credentials.version() if self._credentials else b"")


def _session() -> LoginSession | None:
    return cast("LoginSession | None", g.get("session"))


def _is_by_person(marks: frozenset[Mark]) -> bool:
    """Return whether a person has caused the request, and not a page that is open."""
    if Mark.BACKGROUND in marks or BACKGROUND in request.headers:
        return False
    return wants_page() or request.method not in SAFE


def _admit() -> None:
    """Tell the server that the caller is accepted, so that its connection is the last one to be closed for others."""
    admit = request.environ.get(ADMIT)
    if admit is not None:
        admit()
