"""The request's body, read in one piece: the server has it whole, and werkzeug would copy it piece by piece."""

from __future__ import annotations

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge


def read_body(max_bytes: int) -> bytes:
    """All of it.

    Raises:
        RequestEntityTooLarge: When it is larger; the server refuses most of those before they are read.
    """
    if (request.content_length or 0) > max_bytes:
        raise RequestEntityTooLarge
    body: bytes = request.stream.read()
    if len(body) > max_bytes:
        raise RequestEntityTooLarge
    return body
