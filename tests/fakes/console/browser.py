"""A browser for tests: Flask's client with the headers and form tokens that a real one sends."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from eaves.base.clock import SYSTEM, Clock
from eaves.console.app import create_app
from eaves.console.backend import Backend, ConsoleContext
from eaves.console.exposure import ConsoleSettings

NAVIGATION = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
"""Headers of a typed address, as Chromium sends them."""
HTMX = {"Accept": "text/html", "HX-Request": "true", "Sec-Fetch-Site": "same-origin"}
"""Headers of htmx 4."""
_TOKEN = re.compile(r'"X-CSRF-Token": "([0-9a-f]+)"|name="csrf_token" value="([0-9a-f]+)"')


def open_console(backend: Backend, *, read_only: bool = False, clock: Clock = SYSTEM) -> Browser:
    """Return a browser before the console of a platform on this machine."""
    context = ConsoleContext(backend=backend, settings=ConsoleSettings(read_only=read_only), clock=clock)
    return Browser(create_app(context))


def text_of(page: str) -> str:
    """Return the text of a page as a person reads it."""
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).split()))


class Browser:
    """Opens pages and sends forms, as one browser with its cookies.

    Args:
        app: The console's app.
        url: Address of the console.
    """

    def __init__(self, app: Flask, url: str = "http://localhost:8481") -> None:
        self.client = app.test_client()
        self.url = url

    def open(self, path: str = "/", **headers: str) -> TestResponse:
        """Open a page as from the address bar."""
        return self.client.get(path, base_url=self.url, buffered=True, headers={**NAVIGATION, **_dashed(headers)})

    def fetch(self, path: str, **headers: str) -> TestResponse:
        """Fetch a fragment as htmx does."""
        return self.client.get(path, base_url=self.url, headers={**HTMX, **_dashed(headers)})

    def token(self, path: str = "/") -> str:
        """Return the form token in a page."""
        found = _TOKEN.search(self.open(path).text)
        assert found, f"the page {path} has no form token"
        return found[1] or found[2]

    def submit(
        self, path: str, data: Mapping[str, Any] | None = None, *, token: str | None = None, **headers: str
    ) -> TestResponse:
        """Send a form with the token of the first page, which is the login form when that is needed.

        Args:
            path: Path that the form is sent to.
            data: Fields; a file is `(stream, name)`.
            token: Another token; empty sends none.
            headers: Headers that differ from a browser's, with `_` in a name for `-`.
        """
        token = self.token(self._first_page()) if token is None else token
        fields = {**(data or {}), **({"csrf_token": token} if token else {})}
        own = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        response = self.client.post(
            path, base_url=self.url, data=fields, headers={**NAVIGATION, **own, **_dashed(headers)}
        )
        response.request.environ["wsgi.input"].close()  # a large body is a temporary file
        return response

    def log_in(self, password: str, **fields: str) -> TestResponse:
        """Send the login form."""
        return self.submit("/login", {"password": password, **fields}, token=self.token("/login"))

    def _first_page(self) -> str:
        return "/" if self.open("/").status_code == 200 else "/login"


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
