"""The HTTP contract: which request is answered how."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from eaves import events
from eaves.errors import EavesError, ImageError, LoadingError, StoppedError, UnsupportedContentError
from functions import problems, replies
from functions.admission import Admission
from functions.model import Model
from functions.settings import FunctionSettings

_log = logging.getLogger(__name__)


def create_app(model: Model, settings: FunctionSettings, *, concurrency: int) -> Flask:
    """The WSGI application of one function.

    Args:
        model: Loading or loaded.
        settings: The function's settings.
        concurrency: Predictions at the same time.
    """
    app = Flask("functions", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    admission = Admission(concurrency=concurrency, queue=settings.queue)
    app.register_error_handler(EavesError, problems.answer_error)
    app.register_error_handler(HTTPException, problems.answer_http)
    app.register_error_handler(Exception, problems.answer_fault)

    @app.post("/")
    def predict() -> Response:
        start = time.perf_counter()
        headers = dict(request.headers.items())
        event = events.decode(headers, request.get_data()) if events.is_event(headers) else None
        if event is not None and event.type in events.REPLY_TYPES:
            return Response(status=202)
        data = _image_of(event, headers)
        with admission.slot():
            classifier = model.classifier()
            prediction = classifier.predict(data)
        _log_request(event, settings, start)
        if event is None:
            return jsonify(replies.build_document(prediction, classifier.artifact))
        reply = replies.build_reply(event, prediction, classifier.artifact, settings)
        reply_headers, body = events.encode_binary(reply)
        return Response(body, headers=reply_headers)

    @app.get("/health/liveness")
    def liveness() -> Response:
        return jsonify(status="alive")

    @app.get("/health/readiness")
    def readiness() -> Response:
        if model.draining:
            return problems.answer_error(StoppedError("the process is ending", hint="send to another replica"))
        if model.failure is not None:
            return problems.answer_error(model.failure)
        if not model.ready:
            return problems.answer_error(LoadingError("the model is still loading"))
        return jsonify(status="ready")

    return app


def _image_of(event: events.Event | None, headers: Mapping[str, str]) -> bytes:
    """The image's bytes in a request.

    Raises:
        UnsupportedContentError: When the content type says that it is none.
        ImageError: When there is nothing.
    """
    if event is not None:
        content_type, data = event.datacontenttype or "", event.data
    else:
        content_type, data = headers.get("Content-Type", ""), request.get_data()
    if not data:
        raise ImageError("the image is empty (0 bytes)")
    if not content_type.lower().startswith("image/"):
        raise UnsupportedContentError(
            f"the content type must be image/*, not {content_type[:64]!r}",
            hint="name the image's own type, such as image/jpeg",
        )
    return data


def _log_request(event: events.Event | None, settings: FunctionSettings, start: float) -> None:
    duration_ms = round((time.perf_counter() - start) * 1000, 1)
    extra = {"function": settings.name, "duration_ms": duration_ms}
    if event is not None:
        extra |= {"event_id": event.id[:256], "event_type": event.type[:256]}
    _log.info("predicted in %.1f ms", duration_ms, extra=extra)
