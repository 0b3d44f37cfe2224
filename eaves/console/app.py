"""The Flask app of the console, and the server of its pages."""

from __future__ import annotations

import socket
import threading
import time
from io import BytesIO
from typing import IO, cast

from flask import Flask, Request, Response, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from eaves import ingress
from eaves.console import words
from eaves.console.backend import ConsoleContext
from eaves.console.guard import install_guard, wants_page
from eaves.console.pages import dead_letters, events, functions, images, labels, models, overview, try_it
from eaves.errors import EavesError
from eaves.ingress import IngressLimits, IngressServer, ServerTls
from eaves.ingress.wsgi import WsgiGateway
from eaves.problem_document import describe_reason

PAGES = (overview, events, images, functions, dead_letters, labels, models, try_it)
"""Modules with `build_blueprint(context)`, which builds the routes of a page."""

NAVIGATION = (
    ("overview.show", "Overview"),
    ("events.show", "Events"),
    ("images.show", "Images"),
    ("functions.show", "Functions"),
    ("labels.show", "Labels"),
    ("models.show", "Models"),
    ("try_it.show", "Try it"),
)
"""Endpoint and title of each page in the navigation; without a folder of photos there is no page Labels."""
WORDS = {
    400: "This request can't be read. Load the page again, and repeat what you did.",
    404: "There is no page at this address.",
    405: "This address can't be used in this way.",
    413: "What was sent is too large.",
    500: "This page has failed because of a fault of the console. The console's log has the details.",
}
"""HTTP status to its meaning for a person; other ones have Werkzeug's description."""


class ConsoleRequest(Request):
    """A request whose photos stay in memory, where their bytes are already, within the server's limit.

    Flask would write larger photos into a temporary file, which a full or read-only disk refuses.
    """

    def _get_file_stream(self, *_: object, **__: object) -> IO[bytes]:
        return BytesIO()


def create_app(context: ConsoleContext) -> Flask:
    """Create the WSGI application.

    Args:
        context: The platform that the pages show, and their settings.

    Raises:
        ConfigError: When other machines could open the pages without a password, or the password can't be used.
        StorageError: When the key of signatures can't be read or written.
    """
    app = Flask("eaves.console", static_folder="static", template_folder="templates")
    app.request_class = ConsoleRequest
    install_rendering(app, context)
    install_guard(app, context.settings, context.clock)
    for page in PAGES:
        app.register_blueprint(page.build_blueprint(context))
    install_fault_pages(app)
    return app


def install_rendering(app: Flask, context: ConsoleContext) -> None:
    """Add the filters and globals of the templates to the app's Jinja environment."""
    environment = app.jinja_env
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.globals.update(
        clock_now=context.clock.now,
        has_labels=lambda: context.backend.labels is not None,
        navigation=NAVIGATION,
        platform_title=context.backend.title,
        read_only=context.settings.read_only,
        site_since=context.settings.site_since,
    )
    environment.filters.update(
        ago=lambda at: words.describe_age(context.clock.now() - at),
        lasting=lambda at: words.describe_duration(context.clock.now() - at),
        clock_time=lambda at: words.format_time(at, context.clock.now()),
        utc=words.format_utc,
        duration=words.describe_duration,
        ms=words.describe_ms,
        size=words.describe_size,
        share=words.describe_share,
        counted=words.count_noun,
        anchor=words.build_anchor,
        clean=words.clean_text,
        sentence=words.to_sentence,
        reason=describe_reason,
        image=words.shorten_image,
    )


def install_fault_pages(app: Flask) -> None:
    """Make the app answer with a page when a view fails; a part of a page gets the message, a program text or JSON."""

    @app.errorhandler(EavesError)
    def show(error: EavesError) -> tuple[str | Response, int]:
        if not (wants_page() or "HX-Request" in request.headers):
            return jsonify(message=error.message, fix=error.hint or ""), error.http_status
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


MAX_BYTES = 20_000_000
"""Maximum size of a request's body, such as a photo, bytes; the app has lower limits for most pages."""
STRANGER_BYTES = 65_536
"""Maximum size of the body of a caller that isn't logged in, bytes."""
CONNECTIONS = 256
"""Maximum number of connections. A browser opens up to 6, and the longest idle one gives way."""
IDLE_S = 5.0
"""Time that a connection stays open after a response, seconds: it covers the images of a page, and the two seconds
until an open page asks again. Each connection has a thread, and opening another one costs a browser less than a
millisecond."""


class ConsoleServer(IngressServer):
    """A running console.

    Args:
        app: Flask app of the console.
        host: Address of this machine to listen on.
        port: TCP port; 0 takes a free one.
        listening: A TCP socket that listens already, in place of host and port, which listens on in its own process.
        tls: Certificates; None for plain HTTP.

    Raises:
        ConfigError: When the server can't listen on the address.
    """

    def __init__(
        self,
        app: Flask,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        listening: socket.socket | None = None,
        tls: ServerTls | None = None,
    ) -> None:
        self._gateway = WsgiGateway(
            app,
            scheme="http" if tls is None else "https",
            max_bytes=MAX_BYTES,
            stranger_bytes=STRANGER_BYTES,
        )
        limits = IngressLimits(
            max_bytes=MAX_BYTES, in_flight_bytes=2 * MAX_BYTES, connections=CONNECTIONS, idle_s=IDLE_S
        )
        self._counting = threading.Lock()
        self._running = 0
        self._ended_at = time.monotonic()
        super().__init__(
            self._answer, limits=limits, host=host, port=port, listening=listening, tls=tls, name="console"
        )

    def idle_s(self) -> float:
        """Return the time since the last request ended, seconds; 0 while one runs."""
        with self._counting:
            return 0.0 if self._running else time.monotonic() - self._ended_at

    def _answer(self, request: ingress.Request) -> ingress.Response:
        with self._counting:
            self._running += 1
        try:
            return self._gateway(request)
        finally:
            with self._counting:
                self._running -= 1
                self._ended_at = time.monotonic()
