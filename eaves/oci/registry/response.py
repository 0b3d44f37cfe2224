"""Reading of a registry's response within size limits, and the errors for its statuses."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import urllib3

from eaves.errors import AccessError, OciNotFoundError, RegistryError
from eaves.http_client.retry_after import parse_retry_after
from eaves.oci.descriptor import MAX_DOCUMENT_BYTES

_WRONG_PROTOCOL = (b"HTTP request to an HTTPS server", b"plain HTTP request was sent to HTTPS port")
"""Texts with which servers (Go's and nginx) respond to plain HTTP on a port that expects TLS."""


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


def require_status(answer: RegistryResponse, wanted: Collection[int], what: str) -> None:
    """Raise an error unless a response has one of the HTTP statuses in `wanted`.

    Raises:
        AccessError: For status 401 or 403.
        OciNotFoundError: For status 404.
        RegistryError: For any other status.
    """
    if answer.status in wanted:
        return
    details = _describe_errors(answer)
    if answer.status in (401, 403):
        raise AccessError(
            f"{what}: access denied ({answer.status}){details}",
            hint=("log in with your container tool, for example `docker login`"),
        )
    if answer.status == 404:
        raise OciNotFoundError(f"{what} doesn't exist at the registry{details}", hint="check the name")
    if answer.status == 413:
        raise RegistryError(
            f"{what} is larger than the registry's limit{details}", hint=("raise the limit at the registry")
        )
    if answer.status == 429:
        wait = f" for {answer.wait_s(0):.0f} s" if "Retry-After" in answer.headers else " for now"
        raise RegistryError(f"{what}: the registry accepts no more requests{wait}{details}", hint="try again later")
    if any(phrase in answer.content for phrase in _WRONG_PROTOCOL):
        raise RegistryError(f"{what}: the registry accepts only TLS", hint="remove --plain-http")
    hint = "try again later" if answer.status >= 500 else None
    raise RegistryError(f"{what}: the registry answered {answer.status}{details}", hint=hint)


def _describe_errors(answer: RegistryResponse) -> str:
    """Return the registry's error messages as text. Source: distribution-spec, error codes."""
    try:
        errors = json.loads(answer.content)["errors"]
        text = "; ".join(f"{one.get('code')}: {one.get('message')}" for one in errors)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return f": {text[:200]}" if text.isprintable() else ""
