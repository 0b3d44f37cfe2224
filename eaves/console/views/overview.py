"""The first screen: sources, the link to the cloud, and the newest images."""

from __future__ import annotations

from flask import Blueprint, render_template

from eaves.console.context import ConsoleContext


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of the first screen."""
    pages = Blueprint("overview", __name__)

    @pages.get("/")
    def show() -> str:
        return render_template("overview/show.html", functions=context.backend.status())

    return pages
