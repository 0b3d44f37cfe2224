"""Dead letters: the queues that have some, their reasons, and every dead letter with its image."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, abort, render_template, request, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from eaves.admin import Selector
from eaves.admin.selector import DEAD, MAX_SEQ
from eaves.console.context import ConsoleContext
from eaves.console.model.functions.dead_letters import (
    PAGE,
    SAMPLE,
    build_dead_letter,
    describe_change,
    describe_data,
    group_by_reason,
    next_after,
    shorten_reason,
)
from eaves.console.model.functions.deliveries import describe_lane
from eaves.console.queue_reports import QueueReporter, QueueReports, find_queue
from eaves.console.thumbnails.maker import make_thumbnail
from eaves.console.views.images import send_picture
from eaves.errors import NotFoundError
from eaves.events import DATAREF

SEQ = f"int(max={MAX_SEQ})"
"""Converter of an entry's number in the rule of a route; a larger number can't be stored, so there is no such page."""
DONE = ("retried", "deleted")
"""What the list may say about a change that led to it."""
PICTURE_AGE_S = 3_600
"""Time for which a browser keeps the picture of an entry, seconds; an entry's data never changes."""
GONE = "This entry isn't in the queue any more: it was delivered or deleted meanwhile."


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes that show dead letters."""
    pages = Blueprint("dead_letters", __name__, url_prefix="/dead-letters")
    reporter = QueueReporter(context.backend, context.clock)

    @pages.get("/")
    def show() -> str:
        return _show_queues(reporter.read())

    @pages.get("/<queue>/")
    def list_letters(queue: str) -> str:
        return _show_list(context, queue)

    @pages.get(f"/<queue>/<{SEQ}:seq>")
    def entry(queue: str, seq: int) -> str | tuple[str, int]:
        return _show_entry(context, queue, seq)

    @pages.get(f"/<queue>/<{SEQ}:seq>/image")
    def image(queue: str, seq: int) -> WerkzeugResponse:
        try:
            content = find_queue(context.backend, queue).entry(seq)
        except NotFoundError:
            abort(HTTPStatus.NOT_FOUND)
        return send_picture(make_thumbnail(content.data), max_age_s=PICTURE_AGE_S)

    @pages.get(f"/<queue>/<{SEQ}:seq>/data")
    def data(queue: str, seq: int) -> WerkzeugResponse:
        content = find_queue(context.backend, queue).entry(seq)
        response = Response(content.data, mimetype="application/octet-stream")
        response.headers["Content-Disposition"] = f'attachment; filename="entry-{seq}.bin"'
        return response

    return pages


def _show_queues(found: QueueReports) -> str:
    counts = {
        name: [(lane, describe_lane(lane.lane)) for lane in report.lanes if lane.dead]
        for name, report in found.reports.items()
    }
    return render_template(
        "dead_letters/show.html",
        queues={name: lanes for name, lanes in counts.items() if lanes},
        empty_queues=[name for name, lanes in counts.items() if not lanes],
        unreachable=found.unreachable,
    )


def _show_list(context: ConsoleContext, name: str) -> str:
    """Return one page of a queue's dead letters; the first page also has their reasons."""
    queue = find_queue(context.backend, name)
    lane, reason, source = (request.args.get(key, "")[:512] for key in ("lane", "reason", "source"))
    after = max(0, request.args.get("after", 0, type=int))
    chosen = Selector(state=DEAD, lane=lane, reason=reason, source=source, after=min(after, MAX_SEQ))
    is_first = not (after or reason or source)
    found = [build_dead_letter(one) for one in queue.entries(chosen, limit=SAMPLE if is_first else PAGE)]
    shown = found[:PAGE]
    following = next_after(shown)
    kept: dict[str, Any] = {
        key: value for key, value in (("lane", lane), ("reason", reason), ("source", source)) if value
    }
    done, count = request.args.get("done", ""), max(0, request.args.get("count", 0, type=int))
    return render_template(
        "dead_letters/list.html",
        queue=name,
        letters=shown,
        groups=group_by_reason(found) if is_first else (),
        sample=SAMPLE if is_first and len(found) == SAMPLE else 0,
        filters=kept,
        reason=shorten_reason(reason),
        lane_title=describe_lane(lane) if lane else "",
        message=describe_change(done, count) if done in DONE else "",
        newer=url_for(".list_letters", queue=name, **kept) if after else None,
        older=url_for(".list_letters", queue=name, after=following, **kept) if following else None,
    )


def _show_entry(context: ConsoleContext, name: str, seq: int) -> str | tuple[str, int]:
    try:
        content = find_queue(context.backend, name).entry(seq)
    except NotFoundError:
        return render_template("dead_letters/gone.html", queue=name, seq=seq, message=GONE), HTTPStatus.NOT_FOUND
    letter = build_dead_letter(content.entry)
    kind = content.attributes.get("datacontenttype") or ""
    return render_template(
        "dead_letters/entry.html",
        queue=name,
        letter=letter,
        attributes=sorted(content.attributes.items()),
        dataref="" if content.data else content.attributes.get(DATAREF, ""),
        has_picture=letter.is_image and make_thumbnail(content.data) is not None,
        text=describe_data(kind, content.data),
        size_bytes=len(content.data),
    )
