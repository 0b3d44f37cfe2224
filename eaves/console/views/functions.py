"""The functions: their state, latencies, failures and revisions; promote and roll back."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from eaves.admin import DEAD, Selector
from eaves.console.backend import ConsoleContext, ReusedAnswer
from eaves.console.model.dead_letters import (
    SAMPLE,
    DeadLetterView,
    describe_lane,
    group_by_reason,
    list_deliveries,
)
from eaves.console.model.functions import (
    MEANINGS,
    FunctionRow,
    Latency,
    Revisions,
    build_key,
    build_revisions,
    build_row,
    read_latency,
)
from eaves.console.security.guard import refuse_when_read_only
from eaves.errors import EavesError, NotFoundError
from eaves.logs import format_log_line
from eaves.platform import FunctionStatus

CHANGES = ("promote", "rollback")
LOG_LINES, MAX_LINE = 100, 2_000
"""Number of a log's last lines that are shown, and the maximum number of characters of one."""
LATENCY_S = 5.0
"""Time for which latencies are used again, seconds: the interval at which pages ask."""
CHANGED = "The deployment has changed since this page was shown. Check what serves now before you confirm."


class _Functions:
    """Reads what the pages show of a platform's functions."""

    def __init__(self, context: ConsoleContext) -> None:
        self._backend = context.backend
        self._clock = context.clock
        self._latencies: dict[str, ReusedAnswer[Latency]] = {}

    def find(self, name: str) -> FunctionStatus:
        """Return the status of a function; a NotFoundError when there is no such function."""
        found = {status.name: status for status in self._backend.status()}
        if name not in found:
            known = ", ".join(sorted(found)) or "none"
            raise NotFoundError(f"there is no function {name[:64]!r} (deployed: {known})", hint="eaves status")
        return found[name]

    def row(self, status: FunctionStatus) -> FunctionRow:
        """Return a function with its latencies, as far as the history can be read."""
        name, records, clock = status.name, self._backend.records, self._clock
        latency = self._latencies.setdefault(
            name, ReusedAnswer(lambda: read_latency(records, name, clock.now()), LATENCY_S, clock)
        )
        try:
            return build_row(status, latency.get())
        except EavesError:
            return build_row(status, None)

    def rows(self) -> list[FunctionRow]:
        """Return all functions."""
        return [self.row(status) for status in self._backend.status()]

    def figures(self, status: FunctionStatus) -> dict[str, Any]:
        """Return what the part of a function's page needs that is refreshed."""
        return {
            "row": self.row(status),
            "status": status,
            "deliveries": list_deliveries(status),
            "describe_lane": describe_lane,
            "meanings": MEANINGS,
        }

    def revisions(self, status: FunctionStatus) -> Revisions:
        """Return what serves a function."""
        try:
            return build_revisions(status, self._backend.models())
        except EavesError:
            return build_revisions(status, ())

    def reasons(self, status: FunctionStatus) -> list[tuple[str, DeadLetterView, int]]:
        """Return the reasons of the function's dead letters, each with the name of its queue."""
        found: list[tuple[str, DeadLetterView, int]] = []
        for name, lane in list_deliveries(status):
            if lane.dead:
                # The queue may have ended meanwhile; the next status says so.
                with suppress(EavesError), self._backend.open_queue(name) as queue:
                    letters = queue.entries(Selector(state=DEAD, lane=lane.lane), limit=SAMPLE)
                    found += [(name, *group) for group in group_by_reason(map(DeadLetterView, letters))]
        return sorted(found, key=lambda one: -one[2])


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of the functions' pages."""
    blueprint = Blueprint("functions", __name__)
    backend, pages = context.backend, _Functions(context)

    @blueprint.get("/functions")
    def show() -> str:
        return render_template("functions/show.html", rows=pages.rows())

    @blueprint.get("/parts/functions")
    def rows() -> str:
        return render_template("functions/_rows.html", rows=pages.rows())

    @blueprint.get("/functions/<name>")
    def detail(name: str) -> str:
        status, done = pages.find(name), request.args.get("done", "")
        return render_template(
            "functions/detail.html",
            revisions=pages.revisions(status),
            done=done if done in CHANGES else "",
            **pages.figures(status),
        )

    @blueprint.get("/functions/<name>/figures")
    def figures(name: str) -> str:
        return render_template("functions/_figures.html", **pages.figures(pages.find(name)))

    @blueprint.get("/functions/<name>/reasons")
    def reasons(name: str) -> str:
        return render_template("functions/_reasons.html", groups=pages.reasons(pages.find(name)))

    @blueprint.get("/functions/<name>/log")
    def log(name: str) -> str:
        lines = [format_log_line(line)[:MAX_LINE] for line in backend.logs(pages.find(name).name)[-LOG_LINES:]]
        return render_template("functions/log.html", name=name, lines=lines)

    def ask(change: str, status: FunctionStatus, fault: str = "", fix: str = "") -> str:
        revisions = pages.revisions(status)
        return render_template(
            "functions/confirm.html", change=change, status=status, revisions=revisions, fault=fault, fix=fix
        )

    @blueprint.get("/functions/<name>/<any(promote, rollback):change>")
    def confirm(name: str, change: str) -> str:
        refuse_when_read_only(context.settings.read_only)
        return ask(change, pages.find(name))

    @blueprint.post("/functions/<name>/<any(promote, rollback):change>")
    def make(name: str, change: str) -> str | tuple[str, int] | Response:
        status = pages.find(name)
        if request.form.get("seen") != build_key(status):
            return ask(change, status, CHANGED), HTTPStatus.CONFLICT
        try:
            (backend.promote if change == "promote" else backend.rollback)(name)
        except EavesError as error:
            return ask(change, status, error.message, error.hint or ""), error.http_status
        return redirect(url_for("functions.detail", name=name, done=change), HTTPStatus.SEE_OTHER)

    return blueprint
