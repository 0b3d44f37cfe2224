"""Retry and delete of dead letters; a retry's page looks again until the entry is delivered or has failed again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from eaves.admin import Action, LaneReport, Queue, Selector
from eaves.admin.selector import DEAD, parse_seq
from eaves.console.context import ConsoleContext
from eaves.console.model.functions.dead_letters import (
    RetryOutcome,
    build_dead_letter,
    describe_outcome,
    shorten_reason,
)
from eaves.console.queue_reports import find_queue
from eaves.console.security.marks import Mark, marked
from eaves.console.security.refusals import refuse_when_read_only
from eaves.console.views.dead_letters import SEQ
from eaves.errors import EavesError

FILTERS = ("lane", "reason", "source")
"""Conditions of a form that selects dead letters, fields of `Selector`."""
MAX_WATCH_S = 600.0
"""Time after a retry for which the page looks again by itself, seconds."""


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes that change dead letters."""
    pages = Blueprint("dead_letter_changes", __name__, url_prefix="/dead-letters")

    @pages.post(f"/<queue>/<{SEQ}:seq>/retry")
    def retry(queue: str, seq: int) -> Response:
        return _retry_one(context, queue, seq)

    @pages.get(f"/<queue>/<{SEQ}:seq>/retried")
    def retried(queue: str, seq: int) -> str:
        return render_template("dead_letters/retried.html", **_read_outcome(context, queue, seq))

    @pages.get(f"/<queue>/<{SEQ}:seq>/outcome")
    @marked(Mark.BACKGROUND)
    def outcome(queue: str, seq: int) -> str:
        return render_template("dead_letters/_outcome.html", **_read_outcome(context, queue, seq))

    @pages.post("/<queue>/retry")
    def retry_all(queue: str) -> Response:
        return _change(context, queue, Action.RETRY, "retried")

    @pages.get("/<queue>/delete")
    def ask_delete(queue: str) -> str:
        refuse_when_read_only(context.settings)
        found = find_queue(context.backend, queue)
        count = found.change(Action.DROP, _read_selector(request.args), dry_run=True)
        return render_template(
            "dead_letters/delete.html",
            queue=queue,
            count=count,
            reason=shorten_reason(request.args.get("reason", "")),
            chosen={key: request.args[key] for key in ("seq", *FILTERS) if request.args.get(key)},
        )

    @pages.post("/<queue>/delete")
    def delete(queue: str) -> Response:
        return _change(context, queue, Action.DROP, "deleted")

    return pages


def _retry_one(context: ConsoleContext, name: str, seq: int) -> Response:
    """Queue a dead letter again, and show what becomes of it."""
    queue = find_queue(context.backend, name)
    before = queue.entries(Selector(seqs=(seq,), state=DEAD), limit=1)
    if not before or not queue.change(Action.RETRY, Selector(seqs=(seq,), state=DEAD)).entries:
        return redirect(url_for("dead_letters.entry", queue=name, seq=seq), HTTPStatus.SEE_OTHER)
    letter = build_dead_letter(before[0])
    page = url_for(
        ".retried", queue=name, seq=seq, lane=letter.lane, died=repr(letter.died_at), at=f"{context.clock.now():.3f}"
    )
    return redirect(page, HTTPStatus.SEE_OTHER)


def _read_outcome(context: ConsoleContext, name: str, seq: int) -> dict[str, Any]:
    """Return what the page about a retried entry shows; `again` is empty when it needs not look again."""
    waited_s = max(0.0, context.clock.now() - _read_number("at"))
    outcome = RetryOutcome(is_final=False, tone="starting", text="The queue doesn't answer.")
    fault: EavesError | None = None
    try:
        outcome = _look(context, name, seq, waited_s)
    except EavesError as error:
        fault = error
    looks_again = not outcome.is_final and waited_s < MAX_WATCH_S
    known: dict[str, Any] = {key: request.args[key] for key in ("lane", "died", "at") if key in request.args}
    return {
        "queue": name,
        "seq": seq,
        "outcome": outcome,
        "fault": fault,
        "again": url_for(".outcome", queue=name, seq=seq, **known) if looks_again else "",
        "page": url_for(".retried", queue=name, seq=seq, **known),
    }


def _look(context: ConsoleContext, name: str, seq: int, waited_s: float) -> RetryOutcome:
    queue = find_queue(context.backend, name)
    found = queue.entries(Selector(seqs=(seq,)), limit=1)
    lane = _find_lane(queue, request.args.get("lane", "")) if found else None
    return describe_outcome(
        found[0] if found else None,
        lane,
        waited_s=waited_s,
        died_before=_read_number("died"),
    )


def _read_number(name: str) -> float:
    """Return a number of the address; 0 when it is missing or no finite number."""
    value = request.args.get(name, 0.0, type=float)
    return value if math.isfinite(value) else 0.0


def _find_lane(queue: Queue, name: str) -> LaneReport | None:
    return next((lane for lane in queue.report().lanes if lane.lane == name), None)


def _change(context: ConsoleContext, name: str, action: Action, done: str) -> Response:
    """Change the dead letters that a form selects, and show the list with the number of changed ones."""
    changed = find_queue(context.backend, name).change(action, _read_selector(request.form))
    kept: dict[str, Any] = {"lane": request.form["lane"]} if request.form.get("lane") else {}
    page = url_for("dead_letters.list_letters", queue=name, done=done, count=changed.entries, **kept)
    return redirect(page, HTTPStatus.SEE_OTHER)


def _read_selector(values: Mapping[str, str]) -> Selector:
    """Return the selector of the dead letters that a form or a link is about.

    Raises:
        InputError: When the number is not that of an entry.
    """
    if "seq" in values:
        return Selector(seqs=(parse_seq(values["seq"]),), state=DEAD)
    lane, reason, source = (values.get(key, "") for key in FILTERS)
    return Selector(state=DEAD, lane=lane, reason=reason, source=source)
