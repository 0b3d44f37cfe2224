"""What a route answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eaves.delivery.response_rules import ACCEPTED
from eaves.errors import EavesError
from eaves.problem_document import CONTENT_TYPE, build_problem, error_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An HTTP response.

    Attributes:
        status: HTTP status.
        headers: Its headers, but for those that say how it is sent.
        body: Its body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


STORED = Response(status=ACCEPTED)
"""Taken; there is no reply."""


def answer_json(value: Any, status: int = 200) -> Response:
    """Plain data as a response."""
    return Response(status=status, headers={"Content-Type": "application/json"}, body=json.dumps(value).encode())


def answer_problem(status: int, detail: str, hint: str | None = None, *, kind: str = "", **headers: str) -> Response:
    """An error as a response.

    Args:
        status: HTTP status.
        detail: What is wrong.
        hint: What helps.
        kind: Last part of the problem's type; `http-STATUS` when it is empty.
        headers: More headers, `_` in a name for `-`.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named["Content-Type"] = CONTENT_TYPE
    return Response(status=status, headers=named, body=build_problem(status, detail, hint, kind=kind))


def answer_error(error: EavesError, **headers: str) -> Response:
    """The answer to a request that failed for a known reason; `headers` as for `answer_problem`."""
    return answer_problem(error.http_status, error.message, error.hint, kind=error_type(type(error)), **headers)
