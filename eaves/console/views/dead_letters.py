"""Dead letters: the queues that have some, their reasons, every dead letter with its image; retry and delete."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from eaves.admin import DEAD, Action, Selector
from eaves.admin.queue import MAX_SEQ
from eaves.console.backend import ConsoleContext
from eaves.console.model.dead_letters import (
    PAGE,
    SAMPLE,
    DeadLetterView,
    describe_change,
    describe_data,
    describe_lane,
    group_by_reason,
    list_deliveries,
    shorten_reason,
)
from eaves.console.security.guard import refuse_when_read_only
from eaves.console.views.images import send_picture
from eaves.errors import NotFoundError
from eaves.events import DATAREF

SEQ = f"int(max={MAX_SEQ})"
"""Converter of an entry's number in the rule of a route; a larger number can't be stored, so there is no such page."""
FILTERS = ("lane", "reason", "source")
"""Conditions of a form that selects dead letters, fields of `Selector`."""
PICTURE_AGE_S = 3_600
"""Time for which a browser keeps the picture of an entry, seconds; an entry's data never changes."""


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes that show and change dead letters."""
    pages = Blueprint("dead_letters", __name__, url_prefix="/dead-letters")
    backend = context.backend

    @pages.get("/")
    def show() -> str:
        functions = backend.status()
        lanes = [one for status in functions for one in list_deliveries(status)]
        return render_template(
            "dead_letters/show.html",
            lanes=[(queue, lane, describe_lane(lane.lane)) for queue, lane in lanes if lane.dead],
            silent=[agent for status in functions for agent in status.agents if agent.reason],
        )

    @pages.get("/<queue>/")
    def list_letters(queue: str) -> str:
        return _show_list(context, queue)

    @pages.get(f"/<queue>/<{SEQ}:seq>")
    def entry(queue: str, seq: int) -> str | tuple[str, int]:
        return _show_entry(context, queue, seq)

    @pages.get(f"/<queue>/<{SEQ}:seq>/image")
    def image(queue: str, seq: int) -> AnyResponse:
        from eaves.console.thumbnails import make_thumbnail

        try:
            with backend.open_queue(queue) as found:
                content = found.entry(seq)
        except NotFoundError:
            abort(HTTPStatus.NOT_FOUND)
        return send_picture(make_thumbnail(content.data), max_age_s=PICTURE_AGE_S)

    @pages.get(f"/<queue>/<{SEQ}:seq>/data")
    def data(queue: str, seq: int) -> AnyResponse:
        with backend.open_queue(queue) as found:
            response = Response(found.entry(seq).data, mimetype="application/octet-stream")
        response.headers["Content-Disposition"] = f'attachment; filename="entry-{seq}.bin"'
        return response

    @pages.post(f"/<queue>/<{SEQ}:seq>/retry")
    def retry(queue: str, seq: int) -> AnyResponse:
        with backend.open_queue(queue) as found:
            found.change(Action.RETRY, Selector(seqs=(seq,), state=DEAD))
        return redirect(url_for(".entry", queue=queue, seq=seq), HTTPStatus.SEE_OTHER)

    @pages.post("/<queue>/retry")
    def retry_all(queue: str) -> AnyResponse:
        return _change(context, queue, Action.RETRY, "retried")

    @pages.get("/<queue>/delete")
    def ask_delete(queue: str) -> str:
        refuse_when_read_only(context.settings.read_only)
        with backend.open_queue(queue) as found:
            count = found.change(Action.DROP, _read_selector(request.args), dry_run=True)
        return render_template(
            "dead_letters/delete.html",
            queue=queue,
            count=count,
            reason=shorten_reason(request.args.get("reason", "")),
            chosen={key: request.args[key] for key in ("seq", *FILTERS) if request.args.get(key)},
        )

    @pages.post("/<queue>/delete")
    def delete(queue: str) -> AnyResponse:
        return _change(context, queue, Action.DROP, "deleted")

    return pages


def _show_list(context: ConsoleContext, name: str) -> str:
    """Return one page of a queue's dead letters; the first page also has their reasons."""
    arguments = request.args
    kept: dict[str, Any] = {key: arguments[key][:512] for key in FILTERS if arguments.get(key)}
    after = max(0, arguments.get("after", 0, type=int))
    is_first = not after and not kept.keys() & {"reason", "source"}
    chosen = Selector(state=DEAD, after=min(after, MAX_SEQ), **kept)
    with context.backend.open_queue(name) as queue:
        found = [DeadLetterView(one) for one in queue.entries(chosen, limit=SAMPLE if is_first else PAGE)]
    following = found[PAGE - 1].entry.seq if len(found) >= PAGE else 0
    done, count = arguments.get("done", ""), max(0, arguments.get("count", 0, type=int))
    return render_template(
        "dead_letters/list.html",
        queue=name,
        letters=found[:PAGE],
        groups=group_by_reason(found) if is_first else (),
        sample=SAMPLE if is_first and len(found) == SAMPLE else 0,
        filters=kept,
        reason=shorten_reason(kept.get("reason", "")),
        lane_title=describe_lane(kept["lane"]) if "lane" in kept else "",
        message=describe_change(done, count) if done in ("retried", "deleted") else "",
        newer=url_for(".list_letters", queue=name, **kept) if after else None,
        older=url_for(".list_letters", queue=name, after=following, **kept) if following else None,
    )


def _show_entry(context: ConsoleContext, name: str, seq: int) -> str | tuple[str, int]:
    from eaves.console.thumbnails import make_thumbnail

    try:
        with context.backend.open_queue(name) as queue:
            content = queue.entry(seq)
    except NotFoundError:
        return render_template("dead_letters/gone.html", queue=name, seq=seq), HTTPStatus.NOT_FOUND
    letter = DeadLetterView(content.entry)
    return render_template(
        "dead_letters/entry.html",
        queue=name,
        letter=letter,
        attributes=sorted(content.attributes.items()),
        dataref="" if content.data else content.attributes.get(DATAREF, ""),
        has_picture=letter.is_image and make_thumbnail(content.data) is not None,
        text=describe_data(content.attributes.get("datacontenttype") or "", content.data),
        size_bytes=len(content.data),
    )


def _change(context: ConsoleContext, name: str, action: Action, done: str) -> AnyResponse:
    """Change the dead letters that a form selects, and show the list with the number of changed ones."""
    with context.backend.open_queue(name) as queue:
        changed = queue.change(action, _read_selector(request.form))
    kept: dict[str, Any] = {"lane": request.form["lane"]} if request.form.get("lane") else {}
    page = url_for(".list_letters", queue=name, done=done, count=changed.entries, **kept)
    return redirect(page, HTTPStatus.SEE_OTHER)


def _read_selector(values: MultiDict[str, str]) -> Selector:
    """Return the selector of the dead letters that a form or a link is about; an InputError for a wrong number."""
    if "seq" in values:
        return Selector(seqs=(values.get("seq", -1, type=int),), state=DEAD)
    lane, reason, source = (values.get(key, "") for key in FILTERS)
    return Selector(state=DEAD, lane=lane, reason=reason, source=source)
