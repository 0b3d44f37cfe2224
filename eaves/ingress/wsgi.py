"""Route that passes requests to a WSGI application, such as the console's. Source: PEP 3333."""

from __future__ import annotations

import gzip
import io
import re
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from werkzeug.wrappers import Response as WsgiResponse

from eaves.errors import EventError
from eaves.ingress.request import Request, Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

ADMIT = "eaves.admit"
"""Key of a function by which the application accepts the caller, so that its connection stays open for further requests
and isn't the first one that is closed in favour of others."""
OMITTED = frozenset({
    "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection", "expect", "proxy",
    "content-type", "content-length",
})  # fmt: skip
"""Headers that the application doesn't see under `HTTP_`: those that concern one connection only, and `Proxy`, which
libraries would read as the address of a proxy. Source: RFC 9110, section 7.6.1; httpoxy.org."""
SET_BY_SERVER = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})

TEXTS = ("text/", "application/javascript", "application/json", "application/problem+json", "image/svg+xml")
"""Media types whose bodies are compressed for clients that accept gzip."""
MIN_BYTES, LEVEL = 1_024, 6
"""Size below which a text isn't compressed, bytes (it fits into one packet), and zlib's level."""
GZIP = re.compile(r"\bgzip(?!\s*;\s*q=0(\.0*)?\s*(,|$))", re.IGNORECASE)
"""An Accept-Encoding header that allows gzip. Source: RFC 9110, section 12.5.3."""


class WsgiGateway:
    """Answers requests with a WSGI application. A response is collected as a whole before it is sent.

    Args:
        app: WSGI application.
        scheme: `http` or `https`.
        max_bytes: Maximum size of a request's body, bytes.
        stranger_bytes: Maximum size of the body of a caller that the application hasn't accepted, bytes.
    """

    def __init__(self, app: WSGIApplication, *, scheme: str, max_bytes: int, stranger_bytes: int = 0) -> None:
        self._app = app
        self._scheme = scheme
        self._max_bytes = max_bytes
        self._stranger_bytes = stranger_bytes

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        body = io.BufferedReader(_Body(request, self._bound))
        with WsgiResponse.from_app(self._app, build_environ(request, scheme=self._scheme, body=body)) as found:
            if found.status_code == HTTPStatus.OK:
                compress(found, str(request.headers.get("accept-encoding", "")))
            fields = tuple((name, value) for name, value in found.headers if name.lower() not in SET_BY_SERVER)
            return Response(status=found.status_code, repeated=fields, body=found.get_data())

    def _bound(self, request: Request) -> int:
        return self._max_bytes if request.admitted else self._stranger_bytes


def build_environ(request: Request, *, scheme: str, body: Any) -> dict[str, Any]:
    """Build the WSGI environment of a request.

    HEAD becomes GET, as the server leaves the body out: then Content-Length is that of GET's response. A header's name
    with `_` would look like another one with `-` and is left out, as nginx does.

    Raises:
        EventError: When the target is neither a path nor an address.
    """
    path, host = _split_target(request)
    name, _, port = host.rpartition(":") if host.rpartition(":")[2].isdecimal() else (host, "", "")
    headers = request.headers
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET" if request.method == "HEAD" else request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path.encode("latin-1", "replace")).decode("latin-1"),
        "QUERY_STRING": request.query,
        "SERVER_NAME": name or "localhost",
        "SERVER_PORT": port or ("443" if scheme == "https" else "80"),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": request.caller.address,
        "CONTENT_TYPE": headers.get("content-type", ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        ADMIT: request.admit,
    }
    if "content-length" in headers and headers.get("content-encoding", "identity").lower() in ("identity", ""):
        environ["CONTENT_LENGTH"] = headers["content-length"]  # a body with a coding is passed on unpacked
    for field, value in headers.items():
        low = field.lower()
        if low not in OMITTED and "_" not in low:
            key, joint = f"HTTP_{low.upper().replace('-', '_')}", "; " if low == "cookie" else ","
            environ[key] = f"{environ[key]}{joint}{value}" if key in environ else value
    if host:
        environ["HTTP_HOST"] = host
    return environ


def _split_target(request: Request) -> tuple[str, str]:
    """Return the path of a request, and the host that it is for.

    The host of an absolute target counts, and not the header. Source: RFC 9112, section 3.2.2.
    """
    if request.path.startswith("/"):
        return "/" + request.path.lstrip("/"), str(request.headers.get("host", ""))
    try:
        target = urlsplit(request.path)
    except ValueError:
        target = urlsplit("")
    if target.scheme not in ("http", "https") or not target.netloc:
        raise EventError(f"the request's target must be a path (got {request.path[:80]!r})")
    return target.path or "/", target.netloc


class _Body(io.RawIOBase):
    """The request's body, which is received when the application first reads it."""

    def __init__(self, request: Request, max_bytes: Callable[[Request], int]) -> None:
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
            body = b"" if self._request.is_read else self._request.read_body(self._max_bytes(self._request))
            self._left = memoryview(body)
        piece, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def compress(response: WsgiResponse, accepts: str) -> None:
    """Compress a response that is a text, when the client accepts gzip.

    Another representation must not have the same strong ETag, so the ETag becomes a weak one. Source: RFC 9110,
    sections 8.8.1 and 12.5.3.
    """
    body = response.get_data()
    is_text = response.headers.get("content-type", "").startswith(TEXTS)
    if not is_text or len(body) < MIN_BYTES or "content-encoding" in response.headers:
        return
    response.vary.add("Accept-Encoding")
    if GZIP.search(accepts) is None:
        return
    response.set_data(gzip.compress(body, LEVEL, mtime=0))
    response.headers["Content-Encoding"] = "gzip"
    if (etag := response.get_etag()[0]) is not None:
        response.set_etag(etag, weak=True)
