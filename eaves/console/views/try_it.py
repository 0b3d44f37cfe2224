"""The page Try it: a person drops a photo and sees what a function says about it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from flask import Blueprint, render_template, request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from eaves.console.backend import Backend
from eaves.console.context import ConsoleContext
from eaves.console.model.trial import TrialOutcome, build_photo_event, clean_name, describe_answer, describe_error
from eaves.console.security import Mark, marked
from eaves.console.security.guard import UPLOAD_BYTES
from eaves.errors import EavesError, OverloadedError
from eaves.platform import FunctionStatus

MAX_PHOTOS = 10
"""Maximum number of photos in one request; the page's script sends one after the other."""
PARALLEL = 2
"""Maximum number of requests whose photos are predicted at the same time, so that the images of cameras don't wait."""
BUSY = "Other photos are being tried now."
FAULTS: Mapping[type[Exception], tuple[str, str]] = {
    RequestEntityTooLarge: (
        "The photo is too large.",
        f"Choose photos of at most {UPLOAD_BYTES // 1_000_000} MB together.",
    ),
    BadRequest: ("The photo did not arrive as a whole.", "Try again."),
    OverloadedError: ("The console gets too many photos at this moment.", "Try again in a moment."),
}
"""Error of a request to its meaning for a person, and what to do."""
FRAGMENT = "X-Fragment"
"""Name of the header with which the page's script asks for the results alone."""


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of the page Try it."""
    pages = Blueprint("try_it", __name__)
    backend, places = context.backend, threading.BoundedSemaphore(PARALLEL)

    @pages.get("/try")
    @marked(Mark.CAMERA)
    def show() -> str:
        return _render(_load_functions(backend), request.args.get("function", ""), ())

    @pages.post("/try")
    @marked(Mark.UPLOAD, Mark.CAMERA, Mark.CHANGES_NOTHING)
    def predict() -> str | tuple[str, int]:
        functions = _load_functions(backend)
        chosen, photos = request.form.get("function", ""), request.files.getlist("photo")
        if not places.acquire(blocking=False):
            return _answer(functions, chosen, (_fault(BUSY, "Try again in a moment."),)), HTTPStatus.TOO_MANY_REQUESTS
        try:
            return _answer(functions, chosen, _predict_all(backend, functions, chosen, photos))
        finally:
            places.release()

    def refuse(error: Exception) -> tuple[str, int]:
        title, advice = FAULTS[type(error)]
        status = getattr(error, "code", None) or OverloadedError.http_status
        return _answer(_load_functions(backend), "", (_fault(title, advice),)), status

    for kind in FAULTS:
        pages.register_error_handler(kind, refuse)
    return pages


def _load_functions(backend: Backend) -> Sequence[FunctionStatus] | EavesError:
    try:
        return backend.status()
    except EavesError as error:
        return error


def _answer(functions: Sequence[FunctionStatus] | EavesError, chosen: str, outcomes: Sequence[TrialOutcome]) -> str:
    """Return the whole page with the outcomes, or the outcomes alone for the page's script."""
    if request.headers.get(FRAGMENT):
        return render_template("try_it/results.html", outcomes=outcomes)
    return _render(functions, chosen, outcomes)


def _render(functions: Sequence[FunctionStatus] | EavesError, chosen: str, outcomes: Sequence[TrialOutcome]) -> str:
    error = functions if isinstance(functions, EavesError) else None
    return render_template(
        "try_it/show.html",
        functions=() if isinstance(functions, EavesError) else functions,
        error=error,
        chosen=chosen,
        outcomes=outcomes,
        max_bytes=UPLOAD_BYTES,
    )


def _predict_all(
    backend: Backend,
    functions: Sequence[FunctionStatus] | EavesError,
    chosen: str,
    photos: Sequence[FileStorage],
) -> tuple[TrialOutcome, ...]:
    """Ask a function about each photo, one after the other."""
    if isinstance(functions, EavesError):
        return (describe_error("", functions),)
    function = next((one for one in functions if one.name == chosen), None)
    if function is None:
        return (_fault("There is no such function.", "Choose a function from the list."),)
    sent = [photo for photo in photos if photo.filename]
    if not sent:
        return (_fault("No photo was chosen.", "Choose a photo, or take a picture."),)
    outcomes = tuple(_predict(backend, function, photo) for photo in sent[:MAX_PHOTOS])
    left = len(sent) - MAX_PHOTOS
    advice = f"At most {MAX_PHOTOS} photos are tried at once. Choose the others again."
    return (*outcomes, _fault(f"{left} more photos were not tried.", advice)) if left > 0 else outcomes


def _predict(backend: Backend, function: FunctionStatus, photo: FileStorage) -> TrialOutcome:
    name, data = clean_name(photo.filename or ""), photo.stream.read()
    try:
        return describe_answer(name, backend.invoke(function.name, build_photo_event(data, name, function.site)))
    except EavesError as error:
        return describe_error(name, error)


def _fault(title: str, advice: str) -> TrialOutcome:
    return TrialOutcome(name="", title=title, advice=advice, is_fault=True)
