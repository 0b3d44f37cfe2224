"""Responses to requests that the guard refuses."""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, abort, render_template, request, url_for

from eaves.console.security.origins import comes_by_link
from eaves.console.settings import ConsoleSettings

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing. Source: RFC 9110, section 9.2.1."""
READ_ONLY = "This console is read-only, so it changes nothing."
_CHALLENGE = 'Bearer realm="eaves console"'


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


def refuse_when_read_only(settings: ConsoleSettings) -> None:
    """Answer 403 when the console is read-only; the guard does so for forms, this for pages that ask first."""
    if settings.read_only:
        abort(refuse(HTTPStatus.FORBIDDEN, READ_ONLY))


def ask_to_log_in() -> Response:
    """Build the response to a request without a session.

    The page that has sent an htmx request loads itself again, and that request leads to the login form. A link from
    another site arrives without the cookie (SameSite=Strict); the page between lets the browser send it.
    """
    if "HX-Request" in request.headers:
        return refuse(401, "Log in again.", HX_Refresh="true", WWW_Authenticate=_CHALLENGE)
    if not wants_page():
        return demand_token()
    wanted = request.full_path.removesuffix("?") if request.method in SAFE else "/"
    address = url_for("login.show", next=wanted)
    if comes_by_link(request.method, dict(request.headers)):
        return Response(render_template("security/continue.html", address=address))
    return Response(status=303, headers={"Location": address})


def demand_token() -> Response:
    """Build the response to a program without the token."""
    return refuse(401, "Log in, or send the token: Authorization: Bearer TOKEN.", WWW_Authenticate=_CHALLENGE)


def wants_page() -> bool:
    """Return whether the present request accepts HTML."""
    return "text/html" in request.headers.get("Accept", "")
