"""The Flask app of the console."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import IO

from flask import Blueprint, Flask, Request

from eaves.console.context import ConsoleContext
from eaves.console.rendering import install_rendering
from eaves.console.security import install_security
from eaves.console.views import (
    dead_letter_changes,
    dead_letters,
    events,
    functions,
    images,
    login,
    models,
    overview,
    stream,
    try_it,
)
from eaves.console.views.faults import install_fault_pages

PAGES: tuple[Callable[[ConsoleContext], Blueprint], ...] = (
    overview.build_blueprint,
    stream.build_blueprint,
    events.build_blueprint,
    images.build_blueprint,
    functions.build_blueprint,
    dead_letters.build_blueprint,
    dead_letter_changes.build_blueprint,
    models.build_blueprint,
    try_it.build_blueprint,
)
"""Functions that build the blueprint of each page."""

NAVIGATION = (
    ("overview.show", "Overview"),
    ("events.show", "Events"),
    ("functions.show", "Functions"),
    ("models.show", "Models"),
    ("try_it.show", "Try it"),
)
"""Endpoint and title of each page in the navigation; an endpoint that doesn't exist is left out."""


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
    guard = install_security(
        app,
        context.security,
        read_only=context.settings.read_only,
        end_streams=(lambda _: None) if context.streams is None else context.streams.close,
        clock=context.clock,
    )
    app.register_blueprint(login.build_blueprint(guard))
    for build in PAGES:
        app.register_blueprint(build(context))
    install_fault_pages(app)
    shown = [(endpoint, title) for endpoint, title in NAVIGATION if endpoint in app.view_functions]

    @app.context_processor
    def add_page_values() -> dict[str, object]:
        return {
            "navigation": shown,
            "platform_title": context.backend.title,
            "read_only": context.settings.read_only,
        }

    return app
