"""The HTTP response that a route returns, and functions that build one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eaves.delivery.response_rules import ACCEPTED
from eaves.errors import EavesError
from eaves.web.problem_document import CONTENT_TYPE, build_problem, error_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An HTTP response.

    Attributes:
        status: HTTP status.
        headers: Headers, without those that the server sets itself.
        body: Bytes of the body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


STORED = Response(status=ACCEPTED)
"""Response for stored events, without a reply."""


def answer_json(value: Any, status: int = 200) -> Response:
    """Build a JSON response from plain data."""
    return Response(status=status, headers={"Content-Type": "application/json"}, body=json.dumps(value).encode())


def answer_problem(status: int, detail: str, hint: str | None = None, *, kind: str = "", **headers: str) -> Response:
    """Build a response with a problem document.

    Args:
        status: HTTP status.
        detail: What is wrong.
        hint: Suggested fix.
        kind: Last part of the problem's type; empty for `http-STATUS`.
        headers: Further headers, with `_` in a name for `-`.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named["Content-Type"] = CONTENT_TYPE
    return Response(status=status, headers=named, body=build_problem(status, detail, hint, kind=kind))


def answer_error(error: EavesError, **headers: str) -> Response:
    """Build the response to a request that failed with an EavesError; `headers` as for `answer_problem`."""
    return answer_problem(error.http_status, error.message, error.hint, kind=error_type(type(error)), **headers)
