"""Reading of a request's body in one piece: the server has all of it, and werkzeug would copy it in pieces."""

from __future__ import annotations

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge


def read_body(max_bytes: int) -> bytes:
    """Return the whole body.

    Raises:
        RequestEntityTooLarge: When it is larger; the server refuses most such bodies before they are read.
    """
    if (request.content_length or 0) > max_bytes:
        raise RequestEntityTooLarge
    body: bytes = request.stream.read()
    if len(body) > max_bytes:
        raise RequestEntityTooLarge
    return body
