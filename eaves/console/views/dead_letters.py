"""Dead letters: the queues that have some, their reasons, every dead letter with its image; retry and delete.

A retry's page looks again until the entry is delivered or has failed again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from eaves.admin import Action, Selector
from eaves.admin.selector import DEAD, MAX_SEQ, parse_seq
from eaves.console.context import ConsoleContext
from eaves.console.model.dead_letters import (
    PAGE,
    SAMPLE,
    RetryOutcome,
    build_dead_letter,
    describe_change,
    describe_data,
    describe_lane,
    describe_outcome,
    group_by_reason,
    shorten_reason,
)
from eaves.console.queue_reports import QueueReporter, find_queue
from eaves.console.security.guard import refuse_when_read_only
from eaves.console.views.images import send_picture
from eaves.errors import EavesError, NotFoundError
from eaves.events import DATAREF

SEQ = f"int(max={MAX_SEQ})"
"""Converter of an entry's number in the rule of a route; a larger number can't be stored, so there is no such page."""
FILTERS = ("lane", "reason", "source")
"""Conditions of a form that selects dead letters, fields of `Selector`."""
PICTURE_AGE_S = 3_600
"""Time for which a browser keeps the picture of an entry, seconds; an entry's data never changes."""
MAX_WATCH_S = 600.0
"""Time after a retry for which the page looks again by itself, seconds."""


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes that show and change dead letters."""
    pages = Blueprint("dead_letters", __name__, url_prefix="/dead-letters")
    backend = context.backend
    reporter = QueueReporter(backend, context.clock)

    @pages.get("/")
    def show() -> str:
        found = reporter.read()
        lanes = {
            name: [(lane, describe_lane(lane.lane)) for lane in report.lanes if lane.dead]
            for name, report in found.reports.items()
        }
        return render_template("dead_letters/show.html", queues=lanes, unreachable=found.unreachable)

    @pages.get("/<queue>/")
    def list_letters(queue: str) -> str:
        return _show_list(context, queue)

    @pages.get(f"/<queue>/<{SEQ}:seq>")
    def entry(queue: str, seq: int) -> str | tuple[str, int]:
        return _show_entry(context, queue, seq)

    @pages.get(f"/<queue>/<{SEQ}:seq>/image")
    def image(queue: str, seq: int) -> AnyResponse:
        from eaves.console.thumbnails.maker import make_thumbnail

        try:
            content = find_queue(backend, queue).entry(seq)
        except NotFoundError:
            abort(HTTPStatus.NOT_FOUND)
        return send_picture(make_thumbnail(content.data), max_age_s=PICTURE_AGE_S)

    @pages.get(f"/<queue>/<{SEQ}:seq>/data")
    def data(queue: str, seq: int) -> AnyResponse:
        content = find_queue(backend, queue).entry(seq)
        response = Response(content.data, mimetype="application/octet-stream")
        response.headers["Content-Disposition"] = f'attachment; filename="entry-{seq}.bin"'
        return response

    _add_changes(pages, context)
    return pages


def _add_changes(pages: Blueprint, context: ConsoleContext) -> None:
    """Add the routes that change dead letters."""
    backend = context.backend

    @pages.post(f"/<queue>/<{SEQ}:seq>/retry")
    def retry(queue: str, seq: int) -> AnyResponse:
        """Queue a dead letter again, and show what becomes of it."""
        found, chosen = find_queue(backend, queue), Selector(seqs=(seq,), state=DEAD)
        before = found.entries(chosen, limit=1)
        if not before or not found.change(Action.RETRY, chosen).entries:
            return redirect(url_for(".entry", queue=queue, seq=seq), HTTPStatus.SEE_OTHER)
        letter, at = build_dead_letter(before[0]), f"{context.clock.now():.3f}"
        page = url_for(".retried", queue=queue, seq=seq, lane=letter.lane, died=repr(letter.died_at), at=at)
        return redirect(page, HTTPStatus.SEE_OTHER)

    @pages.get(f"/<queue>/<{SEQ}:seq>/retried")
    def retried(queue: str, seq: int) -> str:
        template = "dead_letters/_outcome.html" if "HX-Request" in request.headers else "dead_letters/retried.html"
        return render_template(template, **_read_outcome(context, queue, seq))

    @pages.post("/<queue>/retry")
    def retry_all(queue: str) -> AnyResponse:
        return _change(context, queue, Action.RETRY, "retried")

    @pages.get("/<queue>/delete")
    def ask_delete(queue: str) -> str:
        refuse_when_read_only(context.settings.read_only)
        return render_template(
            "dead_letters/delete.html",
            queue=queue,
            count=find_queue(backend, queue).change(Action.DROP, _read_selector(request.args), dry_run=True),
            reason=shorten_reason(request.args.get("reason", "")),
            chosen={key: request.args[key] for key in ("seq", *FILTERS) if request.args.get(key)},
        )

    @pages.post("/<queue>/delete")
    def delete(queue: str) -> AnyResponse:
        return _change(context, queue, Action.DROP, "deleted")


def _show_list(context: ConsoleContext, name: str) -> str:
    """Return one page of a queue's dead letters; the first page also has their reasons."""
    queue, arguments = find_queue(context.backend, name), request.args
    kept: dict[str, Any] = {key: arguments[key][:512] for key in FILTERS if arguments.get(key)}
    after = max(0, arguments.get("after", 0, type=int))
    is_first = not after and not kept.keys() & {"reason", "source"}
    chosen = Selector(state=DEAD, after=min(after, MAX_SEQ), **kept)
    found = [build_dead_letter(one) for one in queue.entries(chosen, limit=SAMPLE if is_first else PAGE)]
    following = found[PAGE - 1].seq if len(found) >= PAGE else 0
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
    from eaves.console.thumbnails.maker import make_thumbnail

    try:
        content = find_queue(context.backend, name).entry(seq)
    except NotFoundError:
        return render_template("dead_letters/gone.html", queue=name, seq=seq), HTTPStatus.NOT_FOUND
    letter = build_dead_letter(content.entry)
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


def _read_outcome(context: ConsoleContext, name: str, seq: int) -> dict[str, Any]:
    """Return what the page about a retried entry shows; `again` is empty when it needs not look again."""
    waited_s = max(0.0, context.clock.now() - _read_number("at"))
    outcome = RetryOutcome(is_final=False, tone="starting", text="The queue doesn't answer.")
    fault: EavesError | None = None
    try:
        queue = find_queue(context.backend, name)
        found = queue.entries(Selector(seqs=(seq,)), limit=1)
        lanes = queue.report().lanes if found else ()
        lane = next((one for one in lanes if one.lane == request.args.get("lane", "")), None)
        entry = found[0] if found else None
        outcome = describe_outcome(entry, lane, waited_s=waited_s, died_before=_read_number("died"))
    except EavesError as error:
        fault = error
    looks_again = not outcome.is_final and waited_s < MAX_WATCH_S
    known: dict[str, Any] = {key: request.args[key] for key in ("lane", "died", "at") if key in request.args}
    again = url_for(".retried", queue=name, seq=seq, **known) if looks_again else ""
    return {"queue": name, "seq": seq, "outcome": outcome, "fault": fault, "again": again}


def _read_number(name: str) -> float:
    """Return a number of the address; 0 when it is missing or no finite number."""
    value = request.args.get(name, 0.0, type=float)
    return value if math.isfinite(value) else 0.0


def _change(context: ConsoleContext, name: str, action: Action, done: str) -> AnyResponse:
    """Change the dead letters that a form selects, and show the list with the number of changed ones."""
    changed = find_queue(context.backend, name).change(action, _read_selector(request.form))
    kept: dict[str, Any] = {"lane": request.form["lane"]} if request.form.get("lane") else {}
    page = url_for(".list_letters", queue=name, done=done, count=changed.entries, **kept)
    return redirect(page, HTTPStatus.SEE_OTHER)


def _read_selector(values: Mapping[str, str]) -> Selector:
    """Return the selector of the dead letters that a form or a link is about; an InputError for a wrong number."""
    if "seq" in values:
        return Selector(seqs=(parse_seq(values["seq"]),), state=DEAD)
    lane, reason, source = (values.get(key, "") for key in FILTERS)
    return Selector(state=DEAD, lane=lane, reason=reason, source=source)
