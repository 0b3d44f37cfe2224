"""Reading of a registry's response within size limits, and the errors for its statuses and for lost connections."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

import urllib3

from eaves.errors import AccessError, OciError, OciNotFoundError, RegistryError
from eaves.http_client.retry_after import parse_retry_after
from eaves.oci.descriptor import MAX_DOCUMENT_BYTES

_WRONG_PROTOCOL = (b"HTTP request to an HTTPS server", b"plain HTTP request was sent to HTTPS port")
"""Texts with which servers (Go's and nginx) respond to plain HTTP on a port that expects TLS."""


RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""
MAX_PAUSE_S = 60.0
GATEWAY = frozenset({502, 503, 504})
"""Statuses that a gateway returns when the registry behind it is out of reach. Source: RFC 9110, sections 15.6.3 to
15.6.5.
"""


class PassingError(RegistryError):
    """Error of a request that may succeed later; every other RegistryError of a request lasts.

    Args:
        message: Message of the error.
        hint: Hint of the error, or None.
        reason: Reason in a few words, for a message while a download waits.
        is_away: Whether the registry or the link is out of reach, so that the registry itself has refused nothing.
        wait_s: Time that the registry asks to wait, in seconds; 0 when it doesn't say.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, reason: str = "", is_away: bool = False, wait_s: float = 0.0
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason, self.is_away, self.wait_s = reason, is_away, wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryResponse:
    """A response of a registry that was read to its end.

    Attributes:
        status: HTTP status.
        headers: Response headers; upper and lower case of names is ignored.
        content: Body of at most `MAX_DOCUMENT_BYTES`.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes

    def wait_s(self, default: float) -> float:
        """Return the seconds that the registry asks to wait (Retry-After), or `default` when it doesn't say."""
        asked_s = parse_retry_after(self.headers.get("Retry-After"), time.time())
        return default if asked_s is None else asked_s


def read_response(response: urllib3.BaseHTTPResponse) -> RegistryResponse:
    """Read a response to its end, so that its connection can be used again.

    Raises:
        RegistryError: When the response is larger than `MAX_DOCUMENT_BYTES`.
        urllib3.exceptions.HTTPError: When the connection ends before the response does.
    """
    try:
        content = response.read(MAX_DOCUMENT_BYTES + 1)
        if len(content) > MAX_DOCUMENT_BYTES:
            response.close()
            raise RegistryError(
                f"the registry's answer is larger than the limit for a document, {MAX_DOCUMENT_BYTES} bytes"
            )
    finally:
        response.release_conn()
    return RegistryResponse(status=response.status, headers=response.headers, content=content)


def build_error(answer: RegistryResponse, what: str) -> OciError:
    """Return the error for a status, a PassingError when the request may be sent again within `MAX_PAUSE_S`."""
    error, wait_s = _build_status_error(answer, what), answer.wait_s(0.0)
    if answer.status not in RETRIED or wait_s > MAX_PAUSE_S:
        return error
    reason, is_away = f"the registry answered {answer.status}", answer.status in GATEWAY
    return PassingError(error.message, hint=error.hint, reason=reason, is_away=is_away, wait_s=wait_s)


def _build_status_error(answer: RegistryResponse, what: str) -> OciError:
    """Return the error for a status: an AccessError for 401 and 403, an OciNotFoundError for 404."""
    details = _describe_errors(answer)
    hint: str | None
    match answer.status:
        case 401 | 403:
            text, hint = (
                f"access denied ({answer.status})",
                "log in with your container tool, for example `docker login`",
            )
            return AccessError(f"{what}: {text}{details}", hint=hint)
        case 404:
            return OciNotFoundError(f"{what} doesn't exist at the registry{details}", hint="check the name")
        case 413:
            text, hint = f"{what} is larger than the registry's limit", "raise the limit at the registry"
        case 429:
            wait = f" for {answer.wait_s(0):.0f} s" if "Retry-After" in answer.headers else " for now"
            text, hint = f"{what}: the registry accepts no more requests{wait}", "try again later"
        case _ if any(phrase in answer.content for phrase in _WRONG_PROTOCOL):
            text, hint, details = f"{what}: the registry accepts only TLS", "remove --plain-http", ""
        case status:
            text, hint = f"{what}: the registry answered {status}", "try again later" if status >= 500 else None
    return RegistryError(f"{text}{details}", hint=hint)


def _describe_errors(answer: RegistryResponse) -> str:
    """Return the registry's error messages as text. Source: distribution-spec, error codes."""
    try:
        errors = json.loads(answer.content)["errors"]
        text = "; ".join(f"{one.get('code')}: {one.get('message')}" for one in errors)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return f": {text[:200]}" if text.isprintable() else ""
