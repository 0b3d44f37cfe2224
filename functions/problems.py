"""Errors as responses: a status chosen by what the sender should do next, and a problem document (RFC 9457).

    situation                                    status   the broker's next step
    not a CloudEvent, missing attributes         400      keeps a dead letter, never retries
    a content type or batch that isn't supported 415      the same
    not an image, or a corrupt one               422      the same
    a dataref that may not be fetched            422      the same
    a dataref to what its store says is gone     422      the same
    too many bytes or pixels                     413      the same
    more requests than the queue takes           429      retries, after Retry-After
    a dataref that can't be fetched at present   503      retries
    a dataref that something else answers        503      retries
    a dataref whose store refuses the key        503      retries; a changed key helps
    data that were changed on their way          503      retries
    model loading, failed or draining            503      retries
    a fault of Eaves or the artifact's handler   500      retries; the log has the traceback under the error id
    success, the result is the reply             200      takes the CloudEvent
    success without a reply (our reply types)    202      takes it as delivered; the body is empty

Source: knative/specs, specs/eventing/data-plane.md, and eventing's retry table (pkg/kncloudevents/retries.go).
"""

from __future__ import annotations

import logging
import secrets

from flask import Response, current_app, has_app_context, has_request_context, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from eaves.errors import EavesError, HandlerError, OverloadedError
from eaves.problem_document import CONTENT_TYPE, build_problem, error_type, find_kind, parse_problem

PROTOCOL_CONTENT_TYPE = "application/json"
"""Content type of problem documents for requests under /v2: KServe's client reads the reason only from this type.
Source: open-inference-protocol, the OpenAPI document; kserve, inference_client.py."""
REVISION = "REVISION"
"""Key of the name of the function's revision in the `config` of its Flask application. Problem documents name it, so
that images that a revision refused can be found after another revision has replaced it."""
RETRY_AFTER_S = 1
_LOG_HINT = "find this id in the function's log"

_log = logging.getLogger(__name__)


def error_response(error: Exception) -> Response:
    """Build the response to a request that failed; for a fault, the log gets the traceback, and the sender its id.

    What a handler's failure says may quote the request's data, so the sender gets only the id of that too.
    """
    match error:
        case HandlerError():
            what = "the artifact's handler failed"
            return _problem(error.http_status, "handler", f"{what}, error {_log_fault(what, error)}", _LOG_HINT)
        case EavesError():
            response = _problem(error.http_status, error_type(type(error)), error.message, error.hint)
            if isinstance(error, OverloadedError):
                response.headers["Retry-After"] = str(RETRY_AFTER_S)
        case HTTPException():  # Flask or werkzeug refused the request (404, 405, 413, ...)
            response = refusal_response(error.code or 500, error.description or error.name)
            if isinstance(error, MethodNotAllowed) and error.valid_methods:
                response.headers["Allow"] = ", ".join(sorted(error.valid_methods))  # RFC 9110, section 15.5.6
        case _:
            response = _problem(500, "internal", f"unexpected error {_log_fault('unexpected error', error)}", _LOG_HINT)
    return response


def refusal_response(status: int, detail: str, *, path: str = "") -> Response:
    """Build the response to a request that Flask, or the HTTP server before it, refused."""
    return _problem(status, f"http-{status}", detail, None, path=path)


def problem_type(response: Response) -> str:
    """Return the last segment of the `type` in a response's problem document; empty without such a document."""
    if response.status_code < 400 or response.content_type not in (CONTENT_TYPE, PROTOCOL_CONTENT_TYPE):
        return ""
    return find_kind(parse_problem(response.get_data()))


def _log_fault(what: str, error: Exception) -> str:
    error_id = secrets.token_hex(6)
    _log.error("%s, error %s", what, error_id, exc_info=error, extra={"error_id": error_id})
    return error_id


def _problem(status: int, kind: str, detail: str, hint: str | None, *, path: str = "") -> Response:
    in_protocol = ((has_request_context() and request.path) or path).startswith("/v2")
    revision = current_app.config.get(REVISION, "") if has_app_context() else ""
    document = build_problem(status, detail, hint, kind=kind, protocol_error=in_protocol, revision=revision)
    return Response(document, status=status, content_type=PROTOCOL_CONTENT_TYPE if in_protocol else CONTENT_TYPE)
