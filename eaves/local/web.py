"""What the local platform answers over HTTP: broker and functions on loopback, the rest on its Unix socket."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Protocol
from urllib.parse import urlsplit

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from eaves import events
from eaves.admin import Queue, metrics
from eaves.admin.metrics import render_metrics
from eaves.delivery import HttpAnswer
from eaves.errors import EavesError, ForbiddenError
from eaves.local.broker import read_trace
from eaves.local.queues import build_queue_routes
from eaves.platform import FunctionStatus
from functions import problems

MAX_BODY_BYTES = 32_000_000

_log = logging.getLogger(__name__)


class Runtime(Protocol):
    """What the web needs of the supervisor."""

    def accept(self, event: events.Event, trace: Mapping[str, str]) -> None:
        """Hand an event to the broker, with its trace by HTTP header."""

    def forward(self, name: str, headers: dict[str, str], body: bytes) -> HttpAnswer:
        """Pass one request to a function."""

    def status(self) -> list[FunctionStatus]:
        """Every function."""

    def reconcile(self) -> dict[str, str]:
        """Look at the specs now; return by app why it isn't wholly taken up."""

    @property
    def queue(self) -> Queue:
        """The broker's queue."""


def create_app(runtime: Runtime, *, control: bool) -> Flask:
    """The WSGI application.

    Args:
        runtime: The supervisor.
        control: Also answer live queries: only ever on a socket that belongs to this user.
    """
    app = Flask("eaves.local", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.register_error_handler(EavesError, _answer_error)
    app.register_error_handler(Exception, _answer_fault)

    @app.before_request
    def refuse_browsers() -> None:
        """A page from elsewhere must not reach this, neither straight (Origin) nor by a name it rebinds (Host)."""
        origin = request.headers.get("Origin")
        if not control and not (_is_loopback(f"//{request.host}") and (origin is None or _is_loopback(origin))):
            raise ForbiddenError("only programs on this machine may call this address", hint="http://127.0.0.1/")

    @app.post("/")
    def publish() -> Response:
        headers = dict(request.headers.items())
        runtime.accept(events.decode(headers, request.get_data()), read_trace(headers))
        return Response(status=202)

    @app.post("/functions/<name>")
    def invoke(name: str) -> Response:
        passed = {key: value for key, value in request.headers.items() if key.lower() not in _HOP_BY_HOP}
        answer = runtime.forward(name, passed, request.get_data())
        kept = {key: value for key, value in answer.headers.items() if key.lower() not in _HOP_BY_HOP}
        return Response(answer.body, status=answer.status, headers=kept)

    @app.get("/metrics")
    def show_metrics() -> Response:
        return Response(render_metrics(runtime.queue.report()), content_type=metrics.CONTENT_TYPE)

    if control:
        app.register_blueprint(build_queue_routes(runtime.queue))

        @app.get("/status")
        def status() -> Response:
            return jsonify([asdict(found) for found in runtime.status()])

        @app.post("/reconcile")
        def reconcile() -> Response:
            return jsonify(failed=runtime.reconcile())

    return app


_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "host", "content-length", "server", "date"}
)


def _is_loopback(address: str) -> bool:
    """Whether a Host header (after `//`) or an Origin names this machine's loopback."""
    try:
        return urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1")
    except ValueError:
        return False


def _answer_error(error: EavesError) -> Response:
    document = {"title": type(error).__name__, "status": error.http_status, "detail": error.message, "hint": error.hint}
    return Response(json.dumps(document), status=error.http_status, content_type="application/problem+json")


def _answer_fault(error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return problems.answer_http(error)
    _log.error("unexpected error", exc_info=error)
    return Response(
        '{"status": 500, "detail": "unexpected error; see the log of eaves up"}',
        500,
        content_type="application/problem+json",
    )
