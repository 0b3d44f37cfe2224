"""The page Try it: a person drops a photo and sees what a function says about it."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, render_template, request

from eaves.console.backend import Backend, ConsoleContext
from eaves.console.guard import UPLOAD_BYTES
from eaves.console.pages.event_row import STAGES, describe_score
from eaves.console.words import clean_text, describe_ms
from eaves.delivery import SinkResponse
from eaves.delivery.response_rules import describe_response
from eaves.errors import EavesError
from eaves.events import IMAGE_CAPTURED, Event, event_id, source_uri
from eaves.history.record import Scored, parse_answer
from eaves.media_type import UNKNOWN, sniff
from eaves.platform import FunctionStatus
from eaves.problem_document import parse_problem

PARALLEL = 2
"""Maximum number of requests whose photos are predicted at the same time, so that the images of cameras don't wait."""
BUSY = "Other photos are being tried now."
FRAGMENT = "X-Fragment"
"""Name of the header with which the page's script asks for the results alone."""


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of the page Try it."""
    pages = Blueprint("try_it", __name__)
    backend, places = context.backend, threading.BoundedSemaphore(PARALLEL)

    @pages.get("/try")
    def show() -> str:
        return _render(backend.status(), request.args.get("function", ""), ())

    @pages.post("/try")
    def predict() -> str | tuple[str, int]:
        functions, chosen = backend.status(), request.form.get("function", "")
        if not places.acquire(blocking=False):
            outcomes = (_fault("", BUSY, _RETRY),)
            return _render(functions, chosen, outcomes), HTTPStatus.TOO_MANY_REQUESTS
        try:
            return _render(functions, chosen, _predict_all(backend, functions, chosen))
        finally:
            places.release()

    return pages


def _render(functions: Sequence[FunctionStatus], chosen: str, outcomes: Sequence[TrialOutcome]) -> str:
    """Return the whole page with the outcomes, or the outcomes alone for the page's script."""
    template = "try_it/results.html" if request.headers.get(FRAGMENT) else "try_it/show.html"
    return render_template(template, functions=functions, chosen=chosen, outcomes=outcomes, max_bytes=UPLOAD_BYTES)


def _predict_all(backend: Backend, functions: Sequence[FunctionStatus], chosen: str) -> tuple[TrialOutcome, ...]:
    """Ask a function about each photo, one after the other."""
    function = next((one for one in functions if one.name == chosen), None)
    if function is None:
        return (_fault("", "There is no such function.", "Choose a function from the list."),)
    outcomes = []
    for photo in filter(lambda one: one.filename, request.files.getlist("photo")):
        name, data = clean_name(photo.filename or ""), photo.stream.read()
        try:
            answer = backend.invoke(function.name, build_photo_event(data, name, function.site))
            outcomes.append(describe_answer(name, answer))
        except EavesError as error:
            outcomes.append(_fault(name, error.message, error.hint or _RETRY))
    return tuple(outcomes) or (_fault("", "No photo was chosen.", "Choose a photo, or take a picture."),)


SOURCE = "console"
"""Name of the console as a source of events."""
MAX_NAME = 120
ANY_IMAGE = "image/*"


def clean_name(name: str) -> str:
    """Return the name of a file without folders and unprintable characters; `photo` when nothing is left.

    Args:
        name: Name that the browser sent; a browser may send a path, and anybody may send anything.
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    printable = "".join(one for one in last if one.isprintable()).strip(" .")
    if len(printable) > MAX_NAME:
        printable = f"{printable[: MAX_NAME - 10]}{printable[-10:]}"
    return printable or "photo"


def build_photo_event(data: bytes, name: str, site: str) -> Event:
    """Build the event that a function gets; it has a new id, so trying a photo twice asks the function twice.

    Args:
        data: Bytes of the photo, whatever they are.
        name: Result of `clean_name`.
        site: Name of the site.
    """
    source = source_uri(site or "local", SOURCE)
    return Event(
        id=event_id(source, secrets.token_hex(16)),
        source=source,
        type=IMAGE_CAPTURED,
        data=data,
        # A function then says that the file can't be read, rather than that it takes no such type.
        datacontenttype=ANY_IMAGE if (kind := sniff(data)) == UNKNOWN else kind,
        subject=name,
        time=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        extensions={"datadigest": f"sha256:{hashlib.sha256(data).hexdigest()}"},
    )


MAX_TEXT = 300
_RETRY = "Try again in a moment."
_LOG = "Look at the function's log: eaves logs FUNCTION"
_TEMPORARY = frozenset({408, 429, 502, 503, 504})
"""Statuses of a function that is busy, starts or has just stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOutcome:
    """What a page shows for one photo.

    Attributes:
        name: Name of the photo.
        title: The answer in one line, or what went wrong.
        detail: The function's own words about a fault; empty otherwise.
        advice: What to do about a fault; empty otherwise.
        is_fault: Whether there is no answer.
        predictions: Labels with scores, the best first.
        boxes: Regions that are unusual, see `RecordedPrediction`.
        timing: How long the answer took, as a sentence; empty when it isn't known.
        stages: Name and time of each stage, as text.
        model: Name and version of the model.
        other: Other content of the answer, as text, such as that of a handler.
    """

    name: str
    title: str
    detail: str = ""
    advice: str = ""
    is_fault: bool = False
    predictions: tuple[Scored, ...] = ()
    boxes: tuple[tuple[float, ...], ...] = ()
    timing: str = ""
    stages: tuple[tuple[str, str], ...] = ()
    model: str = ""
    other: str = ""


def describe_answer(name: str, response: SinkResponse) -> TrialOutcome:
    """Describe a function's answer to a photo."""
    if response.status >= 300 or response.fault:
        return _describe_refusal(name, response)
    try:
        document = response.event.json() if response.event is not None else json.loads(response.body or b"null")
    except (EavesError, ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return _fault(name, "The function's answer is no prediction.", "Choose another function.")
    answer = parse_answer(document, {})
    predictions = tuple(replace(one, label=clean_text(one.label, MAX_TEXT)) for one in answer.ranked)
    is_known = "predictions" in document or answer.threshold is not None
    other = "" if is_known else _describe_other(document)
    title = "The function answered" if other else "No label is likely enough."
    if predictions or answer.threshold is not None:
        title = ", ".join(filter(None, (clean_text(answer.label, MAX_TEXT), describe_score(answer))))
        if response.event is not None and response.event.extensions.get("confidence") == "low":
            title += ", not sure"
    return TrialOutcome(
        name=name,
        title=title,
        predictions=predictions,
        boxes=answer.boxes,
        timing=f"The answer took {describe_ms(response.latency_ms)}.",
        stages=tuple((STAGES.get(name, clean_text(name)), describe_ms(ms)) for name, ms in answer.timings_ms.items()),
        model=clean_text(f"{answer.model} {answer.version}".strip()),
        other=other,
    )


def _fault(name: str, title: str, advice: str, detail: str = "") -> TrialOutcome:
    title, advice, detail = (clean_text(text, MAX_TEXT) for text in (title, advice, detail))
    return TrialOutcome(name=name, title=title, advice=advice, detail=detail, is_fault=True)


def _describe_refusal(name: str, response: SinkResponse) -> TrialOutcome:
    problem = parse_problem(response.body)
    detail = response.fault or str(problem.get("detail") or describe_response(response.status, response.body))
    title, advice = f"The function refused the photo ({response.status}).", str(problem.get("hint") or "")
    if response.status in _TEMPORARY:
        title, advice = "The function can't answer at present.", _RETRY
    elif response.status >= 500 or response.fault:
        title, advice = f"The function answered with an error ({response.status}).", _LOG
    return _fault(name, title, advice, detail)


def _describe_other(document: Mapping[str, Any]) -> str:
    if isinstance(embedding := document.get("embedding"), list):
        return f"an embedding of {len(embedding):,} numbers"
    shown = {key: value for key, value in document.items() if key not in ("model", "version", "artifact", "timings_ms")}
    return clean_text(json.dumps(shown, ensure_ascii=False), 2000)
