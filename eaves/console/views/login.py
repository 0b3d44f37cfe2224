"""The login form, and the end of a session."""

from __future__ import annotations

import re

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from eaves.console.security.guard import Guard

OWN_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]{0,2000}")
r"""A path of this server. Browsers read `\` as `/` and ignore line breaks and tabs, so `/\host` leads to another host.
Source: URL standard, section 4.4."""


def build_blueprint(guard: Guard) -> Blueprint:
    """Build the routes of login and logout.

    Args:
        guard: Compares passwords and begins sessions.
    """
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
