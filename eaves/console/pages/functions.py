"""The functions: their state, what serves them, and the times of their newest predictions; promote and roll back."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from eaves.admin import DEAD, Selection
from eaves.console.backend import CachedAnswer, ConsoleContext
from eaves.console.pages.dead_letters import (
    SAMPLE,
    DeadLetterView,
    describe_lane,
    group_by_reason,
    list_deliveries,
)
from eaves.errors import EavesError, NotFoundError
from eaves.events import PREDICTED
from eaves.history import RecordFilter, Records
from eaves.history.record import parse_prediction
from eaves.logs import format_log_line
from eaves.platform import FunctionStatus
from eaves.rollout import RolloutPhase

_STATES: Mapping[str, tuple[str, str, str]] = {
    "ready": ("ok", "ready", "answers at once"),
    "idle": ("asleep", "asleep", "starts with the next image"),
    "degraded": ("failing", "limited", "answers, but another part of its app isn't ready"),
    "starting": ("starting", "starting", "answers as soon as it has started"),
    "failed": ("failing", "failed", "can't answer"),
    "stopped": ("asleep", "stopped", "nothing runs it: start `eaves up`"),
}
"""State of a function to its picture in templates/macros.html, its word, and what it means for the next image."""
_PHASES: Mapping[str, tuple[str, str]] = {
    "": ("asleep", "no rollout"),
    RolloutPhase.ADVANCING: ("starting", "rollout advances"),
    RolloutPhase.HELD: ("failing", "rollout is held"),
    RolloutPhase.DONE: ("ok", "rollout is done"),
    RolloutPhase.ROLLED_BACK: ("failing", "rolled back"),
}
"""Phase of a rollout to its picture in templates/macros.html, and its words."""
WINDOW = 500
"""Maximum number of predictions that the figures are computed from."""
HOUR_S = 3_600.0
MIN_SAMPLES: Mapping[int, int] = {50: 5, 95: 20}
"""Percentile to the smallest number of predictions for which it is shown. With fewer than 20, the 95th percentile is
the maximum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Times of a function's newest predictions.

    Attributes:
        rate: Number of predictions in the last hour in words, with a plus when there may be more.
        last_at: Arrival of the newest prediction, Unix seconds; None without any.
        percentiles: Percentiles of `MIN_SAMPLES` of the time from the arrival of an image to that of its prediction,
            milliseconds; None with too few predictions.
    """

    rate: str = "0 in the last hour"
    last_at: float | None = None
    percentiles: tuple[float | None, ...] = (None,) * len(MIN_SAMPLES)


def read_times(records: Records, function: str, now: float, *, window: int = WINDOW) -> Times:
    """Return the times of a function's newest predictions, at most `window`; `now` in Unix seconds."""
    found = records.find(RecordFilter(types=PREDICTED, source=function), limit=window)
    predicted = [record for record in found if record.source.rpartition("/")[2] == function]
    if not predicted:
        return Times()
    causes, waits = records.causes(predicted), []
    for record in predicted:
        cause = causes.get(record.seq)
        wait_ms = (record.at - cause.at) * 1_000 if cause else -1.0
        # A direct call arrives together with its answer, and says nothing about the time between.
        if wait_ms >= sum(parse_prediction(record).timings_ms.values()):
            waits.append(wait_ms)
    waits.sort()
    recent = sum(record.at > now - HOUR_S for record in predicted)
    return Times(
        rate=f"{recent:,}{'+' if recent == window else ''} in the last hour",
        last_at=max(record.at for record in predicted),
        percentiles=tuple(
            waits[math.ceil(percent / 100 * len(waits)) - 1] if len(waits) >= least else None
            for percent, least in MIN_SAMPLES.items()
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRow:
    """One function in the list.

    Attributes:
        status: Its status.
        times: Times of the newest predictions; None when the history can't be read.
    """

    status: FunctionStatus
    times: Times | None

    @property
    def state(self) -> tuple[str, str, str]:
        """Picture and colour of its state, the state in one word, and what it means for the next image."""
        return _STATES.get(self.status.state, ("starting", self.status.state, ""))

    @property
    def predictions(self) -> str:
        """Number of newest predictions in words."""
        return "unknown" if self.times is None else self.times.rate

    @property
    def agents_queued(self) -> int | None:
        """Number of entries that wait in the queues of its agents; None when one can't be asked."""
        return _add([agent.queued for agent in self.status.agents])

    @property
    def agents_dead(self) -> int | None:
        """Number of dead letters in the queues of its agents; None when one can't be asked."""
        return _add([agent.dead for agent in self.status.agents])

    @property
    def all_queued(self) -> int:
        """Number of all known waiting entries of the app."""
        return self.status.queued + (self.agents_queued or 0)

    @property
    def all_dead(self) -> int:
        """Number of all known dead letters of the app."""
        return self.status.dead + (self.agents_dead or 0)


def _add(counts: list[int | None]) -> int | None:
    """Return a sum; None when one of the counts isn't known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def build_revisions(status: FunctionStatus) -> dict[str, Any]:
    """Return what templates show of what serves a function: revisions with their requests, and possible changes."""
    image = status.deployed.image if status.deployed else ""  # one artifact may be in several container images
    serving = {one.revision: one for one in sorted(status.serving, key=lambda one: -one.percent)}
    images = {one.image: one.revision for one in serving.values()}
    is_waiting = bool(image and "" not in images and image not in images)
    rollout = status.rollout
    counts = {one.revision: one for one in rollout.revisions} if rollout else {}
    is_rolling = rollout is not None and rollout.phase not in ("", RolloutPhase.DONE)
    return {
        # revision, as it is served, and with its requests; none on one machine where one artifact serves
        "rows": [(name, serving.get(name), counts.get(name)) for name in dict.fromkeys((*serving, *counts))],
        "newest": rollout.revisions[0].revision if rollout else images.get(image, ""),
        "is_rolling": is_rolling,
        "can_promote": is_rolling or (bool(serving) and (len(serving) > 1 or is_waiting)),
        "can_roll_back": len(serving) > 1 or status.deployed is None or status.deployed.sequence > 1,
        "seen": build_key(status),  # a change is refused when it is different by then
    }


def build_key(status: FunctionStatus) -> str:
    """Return a key that is different when other revisions serve, or when something else was deployed.

    Shares are not part of it, since a rollout changes them by itself.
    """
    deployed = str(status.deployed.sequence) if status.deployed else ""
    newest = status.rollout.revisions[0].revision if status.rollout else ""
    serving = sorted(one.revision for one in status.serving)
    parts = [status.artifact, status.artifact_digest, deployed, newest, *serving]
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:16]


CHANGES = ("promote", "rollback")
LOG_LINES, MAX_LINE = 100, 2_000
"""Number of a log's last lines that are shown, and the maximum number of characters of one."""
TIMES_S = 5.0
"""Time for which times of predictions are used again, seconds: the interval at which pages ask."""
CHANGED = "The deployment has changed since this page was shown. Check what serves now before you confirm."


class _Functions:
    """Reads what the pages show of a platform's functions."""

    def __init__(self, context: ConsoleContext) -> None:
        self._backend = context.backend
        self._clock = context.clock
        self._times: dict[str, CachedAnswer[Times]] = {}

    def find(self, name: str) -> FunctionStatus:
        """Return the status of a function; a NotFoundError when there is no such function."""
        found = {status.name: status for status in self._backend.status()}
        if name not in found:
            known = ", ".join(sorted(found)) or "none"
            raise NotFoundError(f"there is no function {name[:64]!r} (deployed: {known})", hint="eaves status")
        return found[name]

    def row(self, status: FunctionStatus) -> FunctionRow:
        """Return a function with the times of its predictions, as far as the history can be read."""
        name, records, clock = status.name, self._backend.records, self._clock
        times = self._times.setdefault(
            name, CachedAnswer(lambda: read_times(records, name, clock.now()), TIMES_S, clock)
        )
        try:
            return FunctionRow(status=status, times=times.get())
        except EavesError:
            return FunctionRow(status=status, times=None)

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
            "revisions": build_revisions(status),
            "phases": _PHASES,
        }

    def reasons(self, status: FunctionStatus) -> list[tuple[str, DeadLetterView, int]]:
        """Return the reasons of the function's dead letters, each with the name of its queue."""
        found: list[tuple[str, DeadLetterView, int]] = []
        for name, lane in list_deliveries(status):
            if lane.dead:
                # The queue may have ended meanwhile; the next status says so.
                with suppress(EavesError), self._backend.open_queue(name) as queue:
                    letters = queue.entries(Selection(state=DEAD, lane=lane.lane), limit=SAMPLE)
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
        revisions = build_revisions(status)
        return render_template(
            "functions/confirm.html", change=change, status=status, revisions=revisions, fault=fault, fix=fix
        )

    @blueprint.get("/functions/<name>/<any(promote, rollback):change>")
    def confirm(name: str, change: str) -> str:
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
