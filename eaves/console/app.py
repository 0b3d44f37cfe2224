"""The Flask app of the console."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Flask

from eaves.console.context import ConsoleContext
from eaves.console.views import overview

PAGES: tuple[Callable[[ConsoleContext], Blueprint], ...] = (overview.build_blueprint,)
"""Functions that build the blueprint of each page."""

NAVIGATION = (
    ("overview.show", "Overview"),
    ("events.show", "Events"),
    ("functions.show", "Functions"),
    ("models.show", "Models"),
    ("try_it.show", "Try it"),
)
"""Endpoint and title of each page in the navigation; an endpoint that doesn't exist is left out."""


def create_app(context: ConsoleContext) -> Flask:
    """Create the WSGI application.

    Args:
        context: The platform that the pages show, and their settings.
    """
    app = Flask("eaves.console", static_folder="static", template_folder="templates")
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    for build in PAGES:
        app.register_blueprint(build(context))
    shown = [(endpoint, title) for endpoint, title in NAVIGATION if endpoint in app.view_functions]

    @app.context_processor
    def add_page_values() -> dict[str, object]:
        return {
            "navigation": shown,
            "platform_title": context.backend.title,
            "read_only": context.settings.read_only,
        }

    return app
