"""The HTTP response that a route returns, and functions that build one."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from eaves.errors import EavesError
from eaves.web.problem_document import CONTENT_TYPE, build_problem, error_type

TakeOver = Callable[[socket.socket, bytes], None]
"""Function that gets a connection's socket, and the head of the response, which it has to send. It owns the socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An HTTP response.

    Attributes:
        status: HTTP status.
        headers: Headers, without those that the server sets itself.
        repeated: Further headers in order, whose names may occur more than once, such as `Set-Cookie`.
        body: Bytes of the body.
        take_over: Function that continues the connection in place of the server, which forgets the socket; None for a
            response that the server sends. The body's end is the end of the connection.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    repeated: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    take_over: TakeOver | None = None


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
