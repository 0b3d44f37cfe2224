"""The WSGI environment of a request.

Source: PEP 3333, section `environ` Variables.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from eaves.errors import EventError
from eaves.ingress.request import Request
from eaves.ingress.response import TakeOver

TAKE_OVER = "eaves.take_over"
"""Key of a function by which the application passes a `TakeOver` function for its response to a GET request."""
ADMIT = "eaves.admit"
"""Key of a function by which the application accepts the caller, so that its connection stays open for further requests
and isn't the first one that is closed in favour of others."""
OMITTED = frozenset({
    "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection", "expect", "proxy",
    "content-type", "content-length",
})  # fmt: skip
"""Headers that the application doesn't see under `HTTP_`: those that concern one connection only, and `Proxy`, which
libraries would read as the address of a proxy. Source: RFC 9110, section 7.6.1; httpoxy.org."""


_FIXED: dict[str, Any] = {
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.version": (1, 0),
    "wsgi.input_terminated": True,
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}


def build_environ(
    request: Request, *, scheme: str, max_bytes: Callable[[], int], take_over: Callable[[TakeOver], None]
) -> dict[str, Any]:
    """Build the WSGI environment of a request.

    HEAD becomes GET, as the server leaves the body out: then Content-Length is that of GET's response.

    Args:
        request: Request whose body isn't read yet; it is read when the application reads it.
        scheme: `http` or `https`.
        max_bytes: Returns the maximum size of the body when it is read, bytes.
        take_over: Receives the function that takes over the connection.

    Raises:
        EventError: When the target is neither a path nor an address.
    """
    path, host = _split_target(request)
    name, _, port = host.rpartition(":") if host.rpartition(":")[2].isdecimal() else (host, "", "")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET" if request.method == "HEAD" else request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path.encode("latin-1", "replace")).decode("latin-1"),
        "QUERY_STRING": request.query,
        "SERVER_NAME": name or "localhost",
        "SERVER_PORT": port or ("443" if scheme == "https" else "80"),
        "REMOTE_ADDR": request.caller.address,
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BufferedReader(_Body(request, max_bytes)),
        **_FIXED,
        ADMIT: request.admit,
        TAKE_OVER: take_over,
        **_list_headers(request),
    }
    if host:
        environ["HTTP_HOST"] = host
    return environ


def _split_target(request: Request) -> tuple[str, str]:
    """Return the path of a request, and the host that it is for.

    The host of an absolute target counts, and not the header. Source: RFC 9112, section 3.2.2.
    """
    host = str(request.headers.get("host", "")).strip()
    if request.path.startswith("/"):
        return request.path, host
    try:
        target = urlsplit(request.path)
    except ValueError:
        target = urlsplit("")
    if target.scheme not in ("http", "https") or not target.netloc:
        raise EventError(f"the request's target must be a path (got {request.path[:80]!r})")
    return target.path or "/", target.netloc


def _list_headers(request: Request) -> dict[str, str]:
    """Return the headers as WSGI names them.

    A name with `_` would look like another one with `-` and is left out, as nginx does.
    """
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        low = name.lower()
        if low in OMITTED or "_" in low:
            continue
        key = f"HTTP_{low.upper().replace('-', '_')}"
        joint = "; " if low == "cookie" else ","
        found[key] = f"{found[key]}{joint}{value}" if key in found else str(value)
    coded = str(request.headers.get("content-encoding", "identity")).strip().lower() not in ("identity", "")
    found["CONTENT_TYPE"] = str(request.headers.get("content-type", "")).strip()
    if not coded and "content-length" in request.headers:  # a body with a coding is passed on unpacked
        found["CONTENT_LENGTH"] = str(request.headers["content-length"]).strip()
    return found


class _Body(io.RawIOBase):
    """The request's body, which is received when the application first reads it."""

    def __init__(self, request: Request, max_bytes: Callable[[], int]) -> None:
        super().__init__()
        self._request = request
        self._max_bytes = max_bytes
        self._left: memoryview | None = None

    def readable(self) -> bool:
        """Return True, as the body can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some of the body; 0 at its end."""
        if self._left is None:
            body = b"" if self._request.is_read else self._request.read_body(self._max_bytes())
            self._left = memoryview(body)
        piece, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)
