"""The WSGI application of a function: it answers predictions and probes itself, and leaves all else to Flask.

A prediction that succeeds needs nothing of Flask, whose import takes a fifth of a cold start with a small model, and
whose routing takes a third of the time that a request spends outside the model. So Flask is imported after the first
prediction, or by the first request that needs it: one that fails, or has another route.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from eaves import events
from eaves.errors import ContentEncodingError, ForbiddenError
from eaves.origin import HINT, find_foreign, is_loopback_host
from functions.service import Service, encode

FAILED = "eaves.failed"
"""Key of the error in the environment of a request whose response Flask's error handlers make."""
LIVENESS, READINESS = "/health/liveness", "/health/readiness"
PREDICT = ("POST", "/")
DIRECT = (PREDICT, ("GET", READINESS), ("GET", LIVENESS))
"""Method and path of the requests that are answered before Flask."""
PROBE_WAIT_S = 0.09
"""Maximum seconds that a readiness probe waits for a model that loads, so that it is answered when the model is ready.
While a replica starts, Knative's queue-proxy gives a probe 100 ms, and sends the next one after that.
Source: knative/serving, pkg/queue/readiness/probe.go, `aggressiveProbeTimeout`."""
_STATUS_LINES = {200: "200 OK", 202: "202 Accepted"}
_log = logging.getLogger(__name__)

Environ = dict[str, Any]
"""Variables of one request. Source: PEP 3333, "environ Variables"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectAnswer:
    """A successful response.

    Attributes:
        status: Status code.
        headers: Header fields beside the length of the body.
        body: The body.
        close: Function that is called after the response is written.
    """

    status: int = 200
    headers: Mapping[str, str]
    body: bytes
    close: Callable[[], None] = lambda: None


class FunctionApp:
    """WSGI application of one function; safe to call from many threads.

    Args:
        service: The function.
        build_flask: Builds the Flask application that answers all other requests; it is called once.
    """

    def __init__(self, service: Service, build_flask: Callable[[], Any]) -> None:
        self._service = service
        self._build = build_flask
        self._flask: Any = None
        self._is_local = is_loopback_host(service.settings.host)
        self._lock = threading.Lock()

    @property
    def flask(self) -> Any:
        """The Flask application, which is built when it is first needed."""
        with self._lock:
            if self._flask is None:
                self._flask = self._build()
        return self._flask

    def refuse(self, status: int, detail: str, path: str) -> Any:
        """Return the response to a request that the HTTP server refuses, and count it."""
        from functions import problems  # with Flask, which a start doesn't wait for

        with self.flask.app_context():
            response = problems.refusal_response(status, detail, path=path)
        problem = problems.problem_type(response)
        self._service.metrics.count("eaves_requests_total", kind="refused", status=str(status), problem=problem)
        return response

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """DirectAnswer one request."""
        try:
            answer = self._answer(environ)
        except Exception as error:  # noqa: BLE001 - Flask's error handlers choose the response
            environ[FAILED], answer = error, None
        if answer is None:
            response: Iterable[bytes] = self.flask(environ, start_response)
            return response
        start_response(
            _STATUS_LINES[answer.status], [*answer.headers.items(), ("Content-Length", str(len(answer.body)))]
        )
        return _Body(answer)

    def _answer(self, environ: Environ) -> DirectAnswer | None:
        """Return the response to a prediction or a probe; None for requests of Flask's routes."""
        service, kind = self._service, "other"
        request = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if request not in DIRECT:
            return None
        check_request(environ, is_local=self._is_local)
        if request == PREDICT:
            answer, kind = predict(service, environ), "predict"
        else:
            answer = answer_readiness(service) if request[1] == READINESS else _answer_status("alive")
        named = service.count_request(environ, kind, answer.status)
        return replace(answer, headers={**answer.headers, **named}) if named else answer


class _Body(list[bytes]):
    """The body of a response, in one piece."""

    def __init__(self, answer: DirectAnswer) -> None:
        super().__init__((answer.body,))
        self.close = answer.close


def check_request(environ: Environ, *, is_local: bool) -> None:
    """Check what holds for every route.

    Compressed bodies are refused, because images are compressed already, and a small body could expand into a very
    large one.

    Args:
        environ: Environment of the request.
        is_local: Whether the function listens on loopback, where it serves only programs on this machine.

    Raises:
        ForbiddenError: When it does, and a web page may have sent the request.
        ContentEncodingError: When the body is compressed.
    """
    if is_local and (reason := find_foreign(environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN"))):
        raise ForbiddenError(reason, hint=HINT)
    encoding = environ.get("HTTP_CONTENT_ENCODING", "identity")
    if encoding.lower() != "identity":
        raise ContentEncodingError(
            f"the content encoding {encoding[:40]!r} is not supported", hint="send the body without a content encoding"
        )


def predict(service: Service, environ: Environ) -> DirectAnswer:
    """Predict the image or the event that a request has.

    Raises:
        InputError: When the sent data are invalid.
        EavesError: For any other failure; the sender may try again.
        RequestEntityTooLarge: When the body is too large.
    """
    start = time.perf_counter()
    # Source: PEP 3333, `HTTP_` variables; such as `Ce-Id`.
    headers = {name[5:].replace("_", "-").title(): value for name, value in environ.items() if name.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        headers["Content-Type"] = environ["CONTENT_TYPE"]
    body = read_body(environ, service.settings.max_body_bytes)
    # Source: RFC 7240, section 2; such as `Prefer: reply, map`.
    with_map = "map" in {wish.strip().lower() for wish in headers.get("Prefer", "").split(",")}
    with service.reading:
        event = events.decode(headers, body) if events.is_event(headers) else None
    if event is None:
        document = service.predict_data(body, headers.get("Content-Type", ""), with_map=with_map)
        headers, body = {"Content-Type": "application/json"}, encode(document).encode()
    elif event.type in events.REPLY_TYPES:
        return DirectAnswer(status=202, headers={}, body=b"")
    else:
        reply_headers, body = service.predict_event(event, with_map=with_map)
        headers = dict(reply_headers)
    duration_s = time.perf_counter() - start

    def log() -> None:  # after the response is written, so that it isn't delayed
        service.metrics.observe("request", duration_s)
        duration_ms = round(duration_s * 1000, 1)
        extra = {"function": service.settings.name, "duration_ms": duration_ms}
        if event is not None:
            extra |= {"event_id": event.id[:256], "event_type": event.type[:256]}
        _log.info("predicted in %.1f ms", duration_ms, extra=extra)

    return DirectAnswer(headers=headers, body=body, close=log)


def answer_readiness(service: Service) -> DirectAnswer:
    """Answer a readiness probe, which waits a little for a model that loads.

    Raises:
        EavesError: When the function should get no requests; the message says why.
    """
    service.model.wait(PROBE_WAIT_S)
    service.model.require_ready()
    return _answer_status("ready")


def _answer_status(status: str) -> DirectAnswer:
    return DirectAnswer(headers={"Content-Type": "application/json"}, body=encode({"status": status}).encode())


def read_body(environ: Environ, max_bytes: int) -> bytes:
    """Return the whole body in one piece: waitress has received it, and werkzeug would copy it in pieces.

    Waitress refuses most bodies that are too large before they are read.
    """
    is_large = int(environ.get("CONTENT_LENGTH") or 0) > max_bytes
    body: bytes = b"" if is_large else environ["wsgi.input"].read()
    if is_large or len(body) > max_bytes:
        from werkzeug.exceptions import RequestEntityTooLarge

        raise RequestEntityTooLarge
    return body
