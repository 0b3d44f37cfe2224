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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from eaves.errors import EavesError, HandlerError, OverloadedError
from eaves.web.problem_document import CONTENT_TYPE, build_problem, error_type

PROTOCOL_CONTENT_TYPE = "application/json"
"""Content type of problem documents for requests under /v2: KServe's client reads the reason only from this type.
Source: open-inference-protocol, the OpenAPI document; kserve, inference_client.py."""
RETRY_AFTER_S = 1
_LOOK = "find this id in the function's log"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response.

    Attributes:
        status: Status code.
        headers: Header fields beside the length of the body.
        body: The body.
        problem: Last part of the `type` in a problem document; empty for other bodies.
        close: Function that is called after the response is written.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    problem: str = ""
    close: Callable[[], None] = lambda: None


class RequestRefusedError(Exception):
    """A request that HTTP itself has a status for, such as one for a path that doesn't exist.

    Args:
        status: HTTP status.
        detail: What is wrong.
        headers: Headers that the response must have.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def build_failure(error: Exception, *, path: str = "", revision: str = "") -> Answer:
    """Build the response to a request that failed.

    Of an unexpected error and of a handler's failure the sender gets an error id only, as their messages may quote the
    request's data; the log gets the id and the traceback.

    Args:
        error: Reason of the failure.
        path: Path of the request.
        revision: Revision of the function, which the document names, so that images that a revision refused can be
            found after another one has replaced it.
    """
    headers, hint = {}, _LOOK
    match error:
        case RequestRefusedError(status=status, detail=detail):
            kind, hint, headers = f"http-{status}", "", error.headers
        case HandlerError():
            what = "the artifact's handler failed"
            status, kind, detail = error.http_status, "handler", f"{what}, error {_log_fault(what, error)}"
        case EavesError():
            status, kind, detail, hint = error.http_status, error_type(type(error)), error.message, error.hint or ""
        case _:
            status, kind = 500, "internal"
            detail = f"unexpected error {_log_fault('unexpected error', error)}"
    if isinstance(error, OverloadedError):
        headers = {"Retry-After": str(RETRY_AFTER_S)}
    in_protocol = path.startswith("/v2")
    document = build_problem(status, detail, hint, kind=kind, protocol_error=in_protocol, revision=revision)
    content_type = PROTOCOL_CONTENT_TYPE if in_protocol else CONTENT_TYPE
    return Answer(status=status, headers={"Content-Type": content_type, **headers}, body=document, problem=kind)


def _log_fault(what: str, error: Exception) -> str:
    error_id = secrets.token_hex(6)
    _log.error("%s, error %s", what, error_id, exc_info=error, extra={"error_id": error_id})
    return error_id
