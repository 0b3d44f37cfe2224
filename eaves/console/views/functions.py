"""The functions: their state, latencies, failures and revisions; promote and roll back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from eaves.admin import Selector
from eaves.admin.selector import DEAD
from eaves.console.context import ConsoleContext
from eaves.console.model.functions.dead_letters import SAMPLE, ReasonGroup, build_dead_letter, group_by_reason
from eaves.console.model.functions.deliveries import AppDeliveries, build_deliveries
from eaves.console.model.functions.latency import Latency
from eaves.console.model.functions.latency_cache import LatencyCache
from eaves.console.model.functions.revisions import Revisions, build_key, build_revisions
from eaves.console.model.functions.state import FunctionRow, build_row, describe_state, describe_too_few
from eaves.console.queue_reports import QueueReporter
from eaves.console.security.marks import Mark, marked
from eaves.console.security.refusals import refuse_when_read_only
from eaves.errors import EavesError, NotFoundError
from eaves.platform import FunctionStatus

CHANGES = ("promote", "rollback")
LOG_LINES, MAX_LINE = 100, 2_000
"""Number of a log's last lines that are shown, and the maximum number of characters of one."""
CHANGED = "The deployment has changed since this page was shown. Check what serves now before you confirm."
Answer = str | tuple[str, int] | Response


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pages:
    """What the routes share."""

    context: ConsoleContext
    queues: QueueReporter
    latencies: LatencyCache

    def find(self, name: str) -> FunctionStatus:
        """Return the status of a function.

        Raises:
            NotFoundError: When there is no such function.
        """
        found = {status.name: status for status in self.context.backend.status()}
        if name not in found:
            known = ", ".join(sorted(found)) or "none"
            raise NotFoundError(f"there is no function {name[:64]!r} (deployed: {known})", hint="eaves status")
        return found[name]

    def latency(self, name: str) -> Latency | None:
        """Return a function's latencies; None when the history can't be read."""
        try:
            return self.latencies.read(name)
        except EavesError:
            return None

    def rows(self) -> list[FunctionRow]:
        now = self.context.clock.now()
        return [build_row(status, self.latency(status.name), now) for status in self.context.backend.status()]

    def deliveries(self, status: FunctionStatus) -> AppDeliveries:
        try:
            found = self.queues.read()
        except EavesError as error:
            return build_deliveries(status, {}, {"broker": error.message}, self.context.clock.now())
        return build_deliveries(status, found.reports, found.unreachable, self.context.clock.now())

    def revisions(self, status: FunctionStatus) -> Revisions:
        try:
            models = self.context.backend.models()
        except EavesError:
            models = ()
        return build_revisions(status, models)

    def reasons(self, status: FunctionStatus) -> list[tuple[str, ReasonGroup]]:
        """Return the reasons of the function's dead letters, each with the name of its queue."""
        found: list[tuple[str, ReasonGroup]] = []
        queues = self.context.backend.queues()
        for row in self.deliveries(status).lanes:
            if row.dead and row.queue in queues:
                chosen = Selector(state=DEAD, lane=row.lane)
                with suppress(EavesError):  # the queue ended meanwhile; the next report says so
                    letters = queues[row.queue].entries(chosen, limit=SAMPLE)
                    found += [(row.queue, group) for group in group_by_reason(map(build_dead_letter, letters))]
        return sorted(found, key=lambda one: -one[1].count)

    def figures(self, status: FunctionStatus) -> dict[str, object]:
        """Return what the part of a function's page needs that is refreshed."""
        latency = self.latency(status.name)
        row = build_row(status, latency, self.context.clock.now())
        return {
            "row": row,
            "latency": latency,
            "too_few": describe_too_few(latency) if latency else "",
            "deliveries": self.deliveries(status),
        }


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of the functions' pages."""
    blueprint = Blueprint("functions", __name__)
    pages = _Pages(
        context=context,
        queues=QueueReporter(context.backend, context.clock),
        latencies=LatencyCache(context.backend.records, context.clock),
    )

    @blueprint.get("/functions")
    def show() -> str:
        return render_template("functions/show.html", rows=pages.rows())

    @blueprint.get("/parts/functions")
    @marked(Mark.BACKGROUND)
    def rows() -> str:
        return render_template("functions/_rows.html", rows=pages.rows())

    @blueprint.get("/functions/<name>")
    def detail(name: str) -> str:
        return _show_function(pages, name)

    @blueprint.get("/functions/<name>/figures")
    @marked(Mark.BACKGROUND)
    def figures(name: str) -> str:
        return render_template("functions/_figures.html", **pages.figures(pages.find(name)))

    @blueprint.get("/functions/<name>/reasons")
    def reasons(name: str) -> str:
        return render_template("functions/_reasons.html", groups=pages.reasons(pages.find(name)))

    @blueprint.get("/functions/<name>/log")
    def log(name: str) -> str:
        lines = [line[:MAX_LINE] for line in context.backend.logs(pages.find(name).name)[-LOG_LINES:]]
        return render_template("functions/log.html", name=name, lines=lines)

    for change in CHANGES:
        _add_change(blueprint, pages, change)
    return blueprint


def _show_function(pages: _Pages, name: str) -> str:
    status = pages.find(name)
    done = request.args.get("done", "")
    return render_template(
        "functions/detail.html",
        status=status,
        state=describe_state(status),
        revisions=pages.revisions(status),
        done=done if done in CHANGES else "",
        **pages.figures(status),
    )


def _add_change(blueprint: Blueprint, pages: _Pages, change: str) -> None:
    """Add the page that asks before a change, and the route that makes the change."""
    backend = pages.context.backend
    act: Callable[[str], None] = backend.promote if change == "promote" else backend.rollback

    def ask(status: FunctionStatus, fault: str = "", fix: str = "") -> str:
        return render_template(
            "functions/confirm.html",
            change=change,
            status=status,
            revisions=pages.revisions(status),
            fault=fault,
            fix=fix,
        )

    def show(name: str) -> str:
        refuse_when_read_only(pages.context.settings)
        return ask(pages.find(name))

    def make(name: str) -> Answer:
        status = pages.find(name)
        if request.form.get("seen") != build_key(status):
            return ask(status, CHANGED), HTTPStatus.CONFLICT
        try:
            act(name)
        except EavesError as error:
            return ask(status, error.message, error.hint or ""), error.http_status
        return redirect(url_for("functions.detail", name=name, done=change), HTTPStatus.SEE_OTHER)

    blueprint.add_url_rule(f"/functions/<name>/{change}", f"ask_{change}", show, methods=["GET"])
    blueprint.add_url_rule(f"/functions/<name>/{change}", change, make, methods=["POST"])
