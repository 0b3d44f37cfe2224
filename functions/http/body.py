"""Reads a request's body in one piece: waitress has received the whole body, and werkzeug would copy it in pieces."""

from __future__ import annotations

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge


def read_body(max_bytes: int) -> bytes:
    """Return the whole body of the current request.

    Waitress refuses most bodies that are too large before they are read.

    Raises:
        RequestEntityTooLarge: When the body has more than `max_bytes` bytes.
    """
    if (request.content_length or 0) > max_bytes:
        raise RequestEntityTooLarge
    body: bytes = request.stream.read()
    if len(body) > max_bytes:
        raise RequestEntityTooLarge
    return body
