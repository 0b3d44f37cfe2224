"""The page Try it: a person drops a photo and sees what a function says about it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http import HTTPStatus

from flask import Blueprint, render_template, request
from werkzeug.datastructures import FileStorage

from eaves.console.backend import Backend
from eaves.console.context import ConsoleContext
from eaves.console.model.trial import TrialOutcome, build_photo_event, clean_name, describe_answer, describe_error
from eaves.console.security import Mark, marked
from eaves.console.security.guard import UPLOAD_BYTES
from eaves.errors import EavesError
from eaves.platform import FunctionStatus

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
    @marked(Mark.CAMERA)
    def show() -> str:
        return _render(backend.status(), request.args.get("function", ""), ())

    @pages.post("/try")
    @marked(Mark.UPLOAD, Mark.CAMERA, Mark.CHANGES_NOTHING)
    def predict() -> str | tuple[str, int]:
        functions, chosen = backend.status(), request.form.get("function", "")
        if not places.acquire(blocking=False):
            outcomes = (_fault(BUSY, "Try again in a moment."),)
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
        return (_fault("There is no such function.", "Choose a function from the list."),)
    sent = [photo for photo in request.files.getlist("photo") if photo.filename]
    if not sent:
        return (_fault("No photo was chosen.", "Choose a photo, or take a picture."),)
    return tuple(_predict(backend, function, photo) for photo in sent)


def _predict(backend: Backend, function: FunctionStatus, photo: FileStorage) -> TrialOutcome:
    name, data = clean_name(photo.filename or ""), photo.stream.read()
    try:
        return describe_answer(name, backend.invoke(function.name, build_photo_event(data, name, function.site)))
    except EavesError as error:
        return describe_error(name, error)


def _fault(title: str, advice: str) -> TrialOutcome:
    return TrialOutcome(name="", title=title, advice=advice, is_fault=True)
