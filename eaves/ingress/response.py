"""What a route answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eaves.delivery.response_rules import ACCEPTED


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


def answer_problem(status: int, detail: str, hint: str | None = None, **headers: str) -> Response:
    """An error as a response. Source: RFC 9457.

    Args:
        status: HTTP status.
        detail: What is wrong.
        hint: What helps.
        headers: More headers, `_` in a name for `-`.
    """
    document = {"title": "Error", "status": status, "detail": detail[:300], "hint": hint}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named["Content-Type"] = "application/problem+json"
    return Response(status=status, headers=named, body=json.dumps(document).encode())
