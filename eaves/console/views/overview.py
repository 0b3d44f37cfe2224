"""The first screen: sources, the link to the cloud, and the newest images. An open page asks for it every two seconds.

However many pages ask, the screen is rendered at most four times a second, and the platform is asked once a second.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, render_template, request

from eaves.console.backend import ConsoleContext, ReusedAnswer
from eaves.console.model.overview import Overview, build_overview
from eaves.console.model.prediction import ANSWERED, EventRow, build_row
from eaves.console.model.tiles import find_rhythm
from eaves.errors import EavesError
from eaves.events import IMAGE_CAPTURED, source_uri
from eaves.history import Record, RecordFilter, SourceRecords

MAX_ROWS = 50
"""Maximum number of rows in the list of newest images."""
STATE_S, RENDERED_S = 1.0, 0.25
"""Time for which the platform's state and the rendered screen are used again, seconds."""
RHYTHM_IMAGES = 12
"""Number of the newest images of a source whose times decide whether they come regularly."""
_TIMES = re.compile(r"<time .*?</time>", re.DOTALL)
"""Ages, which the page itself keeps current, so that they make no other screen."""


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of the first screen."""
    pages = Blueprint("overview", __name__)
    state = ReusedAnswer(_FirstScreen(context).read, STATE_S, context.clock)

    def read() -> dict[str, Any]:
        view, fault = None, None
        try:
            view = state.get()
        except EavesError as error:
            fault = error
        found = context.backend.records.find(RecordFilter(types=ANSWERED), limit=MAX_ROWS)
        shown = context.backend.images.find_shown(found)
        rows = [build_row(one, has_picture=one.seq in shown) for one in found]
        return {"view": view, "fault": fault, "rows": rows}

    def render() -> tuple[str, str]:
        """Return the screen and its ETag."""
        text = render_template("overview/live.html", **read())
        return text, hashlib.sha256(_TIMES.sub("", text).encode(errors="replace")).hexdigest()[:20]

    rendered = ReusedAnswer(render, RENDERED_S, context.clock)

    @pages.get("/")
    def show() -> str:
        return render_template("overview/show.html", **read())

    @pages.get("/parts/overview")
    def live() -> Response:
        text, etag = rendered.get()
        response = Response(text)
        response.set_etag(etag)
        response.make_conditional(request)
        return response

    return pages


class _FirstScreen:
    """Reads the state of a platform for the first screen; one thread at a time."""

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context
        self._rhythms: dict[str, tuple[int, float | None]] = {}

    def read(self) -> Overview:
        """Return the present state; an EavesError when the platform can't be reached."""
        backend, now = self._context.backend, self._context.clock.now()
        functions, sources = backend.status(), backend.records.by_source()
        newest = {one.source: found for one in sources if (found := _newest(one)) is not None}
        shown = backend.images.find_shown(newest.values())
        images = {source: _build_last(record, record.seq in shown) for source, record in newest.items()}
        agents = [(one.site, agent) for one in functions for agent in one.agents]
        own = {source_uri(site, report.name) for site, agent in agents for report in agent.sources}
        silent_after_s = self._context.settings.silent_after_s
        rhythms = {
            one.source: self._find_rhythm(one.captured)
            for one in sources
            if one.captured and one.source in own and 0 < silent_after_s < now - one.captured.at
        }
        return build_overview(functions, images, now=now, silent_after_s=silent_after_s, rhythms=rhythms)

    def _find_rhythm(self, newest: Record) -> float | None:
        """Return the usual time between the images of a source that has been silent, which is computed once."""
        known = self._rhythms.get(newest.source)
        if known is None or known[0] != newest.seq:
            wanted = RecordFilter(types=(IMAGE_CAPTURED,), source=newest.source)
            known = newest.seq, find_rhythm(self._context.backend.records.find(wanted, limit=RHYTHM_IMAGES))
            self._rhythms[newest.source] = known
        return known[1]


def _newest(one: SourceRecords) -> Record | None:
    """Return the newest answer to an image of a source, or its newest image when that came later."""
    captured, predicted = one.captured, one.predicted
    return predicted if predicted is not None and (captured is None or predicted.seq > captured.seq) else captured


def _build_last(record: Record, has_picture: bool) -> EventRow:
    row = build_row(record, has_picture=has_picture)
    return replace(row, title="Not predicted yet") if record.type == IMAGE_CAPTURED else row
