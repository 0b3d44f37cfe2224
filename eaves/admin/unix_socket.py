"""HTTP requests to the process that listens on a Unix socket, whose path may have any length."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from eaves.base.files import short_path
from eaves.errors import DeliveryError, NotRunningError, PlatformError
from eaves.http_client.client import HttpAnswer, HttpClient

MAX_BYTES = 64 << 20
"""Maximum size of an answer that is read, bytes; an image has at most 20 MB."""


def ask_socket(path: Path, method: str, target: str, *, timeout_s: float, **options: Any) -> HttpAnswer:
    """Send one request to a Unix socket and return the answer of any status.

    Args:
        path: Path of the socket.
        method: HTTP method.
        target: Path and query.
        timeout_s: Maximum wait for an answer, seconds.
        options: `headers` and `body` of the request.

    Raises:
        NotRunningError: When no process listens on the socket.
        PlatformError: When it doesn't answer.
    """

    def dial(_: str, __: int, seconds: float) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(seconds)
        try:
            with short_path(path) as short:
                made.connect(short)
        except OSError:
            made.close()
            raise
        return made

    client = HttpClient(dial=dial, connections=0, socket_options=())
    try:
        url = f"http://localhost{target}"
        return client.request(method, url, timeout_s=timeout_s, max_bytes=MAX_BYTES, **options)
    except DeliveryError as error:
        if isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError):
            raise NotRunningError(f"no process listens on {path}") from error
        detail = str(error.__cause__) or type(error.__cause__).__name__
        raise PlatformError(f"the process at {path} doesn't answer: {detail}") from error
