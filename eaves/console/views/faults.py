"""Pages about errors: what failed, and the command or edit that fixes it."""

from __future__ import annotations

from typing import cast

from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException

from eaves.console.security.refusals import wants_page
from eaves.errors import EavesError

WORDS = {
    400: "This request can't be read. Load the page again, and repeat what you did.",
    404: "There is no page at this address.",
    405: "This address can't be used in this way.",
    413: "What was sent is too large.",
    500: "This page has failed because of a fault of the console. The console's log has the details.",
}
"""HTTP status to its meaning for a person; other ones have Werkzeug's description."""


def install_fault_pages(app: Flask) -> None:
    """Make the app answer with a page when a view fails; a part of a page gets the message, and a program gets text."""

    @app.errorhandler(EavesError)
    def show(error: EavesError) -> tuple[str, int]:
        return _render(error.message, error.hint or ""), error.http_status

    @app.errorhandler(HTTPException)
    def show_status(error: HTTPException) -> Response:
        status = error.code or 500
        message = WORDS.get(status) or error.description or error.name
        response = cast("Response", error.get_response())  # with its headers, such as Allow
        is_html = wants_page()
        response.set_data(_render(message) if is_html else f"{message}\n")
        response.content_type = f"text/{'html' if is_html else 'plain'}; charset=utf-8"
        return response


def _render(message: str, fix: str = "") -> str:
    template = "faults/_fault.html" if "HX-Request" in request.headers else "faults/show.html"
    return render_template(template, message=message, fix=fix)
