"""Route that passes requests to a WSGI application."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from html import escape
from http import HTTPStatus
from typing import Any

from eaves.errors import EavesError
from eaves.ingress.connection import ConnectionBrokenError
from eaves.ingress.request import Request
from eaves.ingress.response import Response, TakeOver
from eaves.ingress.wsgi.compression import compress
from eaves.ingress.wsgi.environ import build_environ

SET_BY_SERVER = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})
PAGE = "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><h1>{title}</h1><p>{text}</p></html>\n"

StartResponse = Callable[..., Callable[[bytes], object]]
WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

_log = logging.getLogger(__name__)


class WsgiGateway:
    """Answers requests with a WSGI application. A response is collected as a whole before it is sent.

    Args:
        app: WSGI application.
        scheme: `http` or `https`.
        max_bytes: Maximum size of a request's body, bytes.
        stranger_bytes: Maximum size of the body of a caller that the application hasn't accepted, bytes.
        is_trusted: Whether every caller is accepted at once, before the application has seen its request.
    """

    def __init__(
        self, app: WsgiApp, *, scheme: str, max_bytes: int, stranger_bytes: int, is_trusted: bool = False
    ) -> None:
        self._app = app
        self._scheme = scheme
        self._max_bytes = max_bytes
        self._stranger_bytes = stranger_bytes
        self._is_trusted = is_trusted

    def __call__(self, request: Request) -> Response:
        """Answer one request. An error that the application raises becomes a page without its details."""
        if self._is_trusted:
            request.admit()
        try:
            return self._ask(request)
        except EavesError as error:
            return build_page(error.http_status, error.message)
        except ConnectionBrokenError:
            raise
        except Exception:  # noqa: BLE001 - the application's fault must not end the server
            _log.exception("the page %s %s failed", request.method, request.path[:128])
            return build_page(500, "This page failed. The log says why.")

    def _ask(self, request: Request) -> Response:
        answer = _Answer()
        environ = build_environ(
            request,
            scheme=self._scheme,
            max_bytes=lambda: self._max_bytes if request.admitted else self._stranger_bytes,
            take_over=answer.set_take_over,
        )
        parts = self._app(environ, answer.start)
        try:
            body = b"".join([*answer.written, *parts])
        finally:
            if close := getattr(parts, "close", None):
                close()
        fields = [(name, value) for name, value in answer.fields if name.lower() not in SET_BY_SERVER]
        if answer.status == HTTPStatus.OK and answer.take_over and request.method == "GET":
            return Response(status=answer.status, repeated=tuple(fields), take_over=answer.take_over)
        if answer.status == HTTPStatus.OK:
            accepts = str(request.headers.get("accept-encoding", ""))
            kept, body = compress(fields, body, accepts)
            fields = list(kept)
        return Response(status=answer.status, repeated=tuple(fields), body=body)


def build_page(status: int, text: str) -> Response:
    """Build a plain page for an error."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    body = PAGE.format(title=title, text=escape(text)).encode()
    headers = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}
    return Response(status=status, headers=headers, body=body)


class _Answer:
    """What the application says about its response."""

    def __init__(self) -> None:
        self.status = 500
        self.fields: list[tuple[str, str]] = []
        self.written: list[bytes] = []
        self.take_over: TakeOver | None = None

    def start(
        self, status: str, fields: Iterable[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        """Begin the response; PEP 3333's `start_response`."""
        self.status, self.fields = int(status[:3]), list(fields)
        return self.written.append

    def set_take_over(self, take_over: TakeOver) -> None:
        """Let a function take over the connection after a response with status 200."""
        self.take_over = take_over
