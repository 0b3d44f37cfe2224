"""The functions: their state, what serves them, and their latencies from the newest predictions; promote and roll back.

A prediction has the times of its stages, which the function measured. The time from the arrival of the image to the
arrival of the prediction is known when the history has both records. The rest of that time is `waiting`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from eaves.admin import DEAD, Selector
from eaves.console.backend import CachedAnswer, ConsoleContext, ModelLocation
from eaves.console.pages.dead_letters import (
    SAMPLE,
    DeadLetterView,
    describe_lane,
    group_by_reason,
    list_deliveries,
)
from eaves.console.pages.event_row import PREDICTED
from eaves.console.words import count_noun, describe_duration
from eaves.errors import EavesError, NotFoundError
from eaves.history import Record, RecordFilter, Records
from eaves.history.record import parse_prediction
from eaves.logs import format_log_line
from eaves.platform import FunctionStatus

_STATES: Mapping[str, tuple[str, str, str]] = {
    "ready": ("ok", "ready", "answers at once"),
    "idle": ("asleep", "asleep", "starts with the next image"),
    "degraded": ("failing", "limited", "answers, but another part of its app isn't ready"),
    "starting": ("starting", "starting", "answers as soon as it has started"),
    "failed": ("failing", "failed", "can't answer"),
    "stopped": ("asleep", "stopped", "nothing runs it: start `eaves up`"),
}
"""State of a function to its picture in templates/macros.html, its word, and what it means for the next image."""
WINDOW = 500
"""Maximum number of predictions that the figures are computed from."""
HOUR_S = 3_600.0
MIN_SAMPLES: Mapping[int, int] = {50: 5, 95: 20, 99: 100}
"""Percentile to the smallest number of predictions for which it is shown. With fewer than 20, the 95th percentile is
the maximum."""
STAGES: Mapping[str, str] = {
    "waiting": "in the queue, on the way to the function and, after a sleep, until it has started",
    "decode": "the image's bytes are decoded to pixels",
    "preprocess": "the pixels become the model's input",
    "infer": "the model computes",
    "postprocess": "the model's output becomes the prediction",
}
"""Stage to what happens in it, in the order of time."""
IN_FUNCTION, TOTAL = "in the function", "image to prediction"
MEANINGS: Mapping[str, str] = {
    **STAGES,
    IN_FUNCTION: "all stages but waiting",
    TOTAL: "from the arrival of the image to the arrival of its prediction",
}
Percentiles = tuple[float | None, ...]
"""Percentiles of `MIN_SAMPLES` of a duration, milliseconds; None with too few predictions."""
_UNKNOWN: Percentiles = (None,) * len(MIN_SAMPLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Latencies of a function's newest predictions.

    Attributes:
        predictions: Number of predictions in the window.
        since: Arrival of the oldest of them, Unix seconds; None without any.
        last_at: Arrival of the newest, Unix seconds; None without any.
        is_full: Whether the window has its maximum number of predictions, so that there may be older ones.
        rate: Number of newest predictions in words: of the last hour, or of the shorter time that is known.
        stages: Stage to its percentiles, in the order of time; then those of all in the function, and `TOTAL`.
    """

    predictions: int = 0
    since: float | None = None
    last_at: float | None = None
    is_full: bool = False
    rate: str = "0 in the last hour"
    stages: Mapping[str, Percentiles] = field(default_factory=dict)

    @property
    def total(self) -> Percentiles:
        """Percentiles from the arrival of the image to the arrival of the prediction."""
        return self.stages.get(TOTAL, _UNKNOWN)

    @property
    def too_few(self) -> str:
        """Why percentiles are missing, such as `only 7 predictions: too few for p95 and p99`; empty otherwise."""
        missing = [f"p{percent}" for percent, least in MIN_SAMPLES.items() if self.predictions < least]
        if not self.predictions or not missing:
            return ""
        return f"only {count_noun(self.predictions, 'prediction')}: too few for {' and '.join(missing)}"


def read_latency(records: Records, function: str, now: float, *, window: int = WINDOW) -> Latency:
    """Return the latencies of a function's newest predictions, at most `window`; `now` in Unix seconds."""
    found = records.find(RecordFilter(types=PREDICTED, source=function), limit=window)
    predicted = [record for record in found if record.source.rpartition("/")[2] == function]
    if not predicted:
        return Latency()
    arrivals = {seq: cause.at for seq, cause in records.causes(predicted).items()}
    return build_latency(predicted, arrivals, now, is_full=len(found) >= window)


def build_latency(
    predicted: Sequence[Record], arrivals: Mapping[int, float], now: float, *, is_full: bool = False
) -> Latency:
    """Compute latencies from records of predictions.

    Args:
        predicted: Records of the predictions of one function, newest first, at least one.
        arrivals: `Record.seq` of a prediction to the arrival of its image, Unix seconds, where that is known.
        now: Current time, Unix seconds.
        is_full: Whether there may be older predictions.
    """
    samples: dict[str, list[float]] = {}
    totals, sums = [], []
    for record in predicted:
        stages = dict(parse_prediction(record).timings_ms)
        spent = sum(stages.values())
        if stages:
            sums.append(spent)
        total = (record.at - arrivals.get(record.seq, math.inf)) * 1_000
        if total >= spent:  # a direct call arrives together with its answer, and says nothing about the time between
            totals.append(total)
            if stages:
                stages["waiting"] = total - spent
        for stage, duration_ms in stages.items():
            samples.setdefault(stage, []).append(duration_ms)
    oldest = min(record.at for record in predicted)
    rate = f"{sum(record.at > now - HOUR_S for record in predicted):,} in the last hour"
    if is_full and oldest > now - HOUR_S:
        rate = f"{len(predicted):,} in the last {describe_duration(max(1.0, now - oldest))}"
    names = [*(stage for stage in STAGES if stage in samples), *sorted(samples.keys() - STAGES.keys())]
    samples |= {IN_FUNCTION: sums, TOTAL: totals}
    return Latency(
        predictions=len(predicted),
        since=oldest,
        last_at=max(record.at for record in predicted),
        is_full=is_full,
        rate=rate,
        stages={name: _find_percentiles(samples[name]) for name in (*names, IN_FUNCTION, TOTAL)},
    )


def _find_percentiles(values_ms: Iterable[float]) -> Percentiles:
    ordered = sorted(values_ms)
    return tuple(
        ordered[math.ceil(percent / 100 * len(ordered)) - 1] if len(ordered) >= least else None
        for percent, least in MIN_SAMPLES.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRow:
    """One function in the list.

    Attributes:
        status: Its status.
        latency: Latencies of the newest predictions; None when the history can't be read.
    """

    status: FunctionStatus
    latency: Latency | None

    @property
    def state(self) -> tuple[str, str, str]:
        """Picture and colour of its state, the state in one word, and what it means for the next image."""
        return _STATES.get(self.status.state, ("starting", self.status.state, ""))

    @property
    def predictions(self) -> str:
        """Number of newest predictions in words."""
        return "unknown" if self.latency is None else self.latency.rate

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


def build_revisions(status: FunctionStatus, models: Iterable[ModelLocation]) -> dict[str, Any]:
    """Return what templates show of what serves a function: revisions that get requests, and possible changes.

    Args:
        status: Status of the function.
        models: Artifacts of the platform, of which one may be that of the function's previous deployment.
    """
    newest = status.deployed.image if status.deployed else ""  # one artifact may be in several container images
    serving = sorted(status.serving, key=lambda one: -one.percent)
    images = {one.image for one in serving}
    is_waiting = bool(newest and "" not in images and newest not in images)
    can_roll_back = any(status.name in one.previous_of for one in models)
    if status.serving or status.deployed:
        can_roll_back = len(serving) > 1 or status.deployed is None or status.deployed.sequence > 1
    return {
        "shares": serving,  # empty on one machine, where one artifact serves
        "newest": newest,
        "can_promote": bool(serving) and (len(serving) > 1 or is_waiting),
        "can_roll_back": can_roll_back,
        "seen": build_key(status),  # a change is refused when it is different by then
    }


def build_key(status: FunctionStatus) -> str:
    """Return a key that is different when other revisions serve, or when something else was deployed.

    Shares are not part of it, since a rollout changes them by itself.
    """
    deployed = str(status.deployed.sequence) if status.deployed else ""
    parts = [status.artifact, status.artifact_digest, deployed, *sorted(one.revision for one in status.serving)]
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:16]


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
        self._latencies: dict[str, CachedAnswer[Latency]] = {}

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
            name, CachedAnswer(lambda: read_latency(records, name, clock.now()), LATENCY_S, clock)
        )
        try:
            return FunctionRow(status=status, latency=latency.get())
        except EavesError:
            return FunctionRow(status=status, latency=None)

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

    def revisions(self, status: FunctionStatus) -> dict[str, Any]:
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
