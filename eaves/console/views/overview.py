"""The first screen: sources, the link to the cloud, and the newest images."""

from __future__ import annotations

from flask import Blueprint, render_template

from eaves.console.context import ConsoleContext
from eaves.console.first_screen import FirstScreen
from eaves.console.model.event_row import build_row
from eaves.console.model.prediction import ANSWERED
from eaves.console.views.overview_feed import MAX_ROWS
from eaves.errors import EavesError
from eaves.history import RecordFilter


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of the first screen."""
    pages = Blueprint("overview", __name__)
    screen = FirstScreen(context)

    @pages.get("/")
    def show() -> str:
        records, view, fault = context.backend.records, None, None
        newest = records.newest()  # the rows end here and the stream begins here, so none is missed or repeated
        try:
            view = screen.read()
        except EavesError as error:
            fault = error
        found = records.find(RecordFilter(types=ANSWERED), before=newest + 1, limit=MAX_ROWS)
        shown = context.backend.images.find_shown(found)
        rows = [build_row(one, has_picture=one.seq in shown) for one in found]
        return render_template("overview/show.html", view=view, fault=fault, rows=rows, newest=newest)

    return pages
