"""What the local platform answers over HTTP: broker and functions on loopback, the rest on its Unix socket."""

from __future__ import annotations

import json
import logging
import os
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from flask import Flask, Response, jsonify, request
from waitress.server import create_server
from werkzeug.exceptions import HTTPException

from eaves import events
from eaves.admin import Queue
from eaves.delivery import HttpAnswer
from eaves.errors import EavesError, ForbiddenError
from eaves.local.queues import build_queue_routes
from eaves.platform import FunctionStatus

MAX_BODY_BYTES = 32_000_000
CONNECTIONS = 1000
IDLE_S = 30
"""Seconds after which an idle connection is closed, so that forgotten ones don't use up all there are."""
THREADS = 32
"""Requests at the same time; each holds its image while it waits for a function."""

_log = logging.getLogger(__name__)


class Runtime(Protocol):
    """What the web needs of the supervisor."""

    def accept(self, event: events.Event) -> None:
        """Hand an event to the broker."""

    def forward(self, name: str, headers: dict[str, str], body: bytes) -> HttpAnswer:
        """Pass one request to a function."""

    def status(self) -> list[FunctionStatus]:
        """Every function."""

    def reconcile(self) -> None:
        """Look at the specs now."""

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
        runtime.accept(events.decode(dict(request.headers.items()), request.get_data()))
        return Response(status=202)

    @app.post("/functions/<name>")
    def invoke(name: str) -> Response:
        passed = {key: value for key, value in request.headers.items() if key.lower() not in _HOP_BY_HOP}
        answer = runtime.forward(name, passed, request.get_data())
        kept = {key: value for key, value in answer.headers.items() if key.lower() not in _HOP_BY_HOP}
        return Response(answer.body, status=answer.status, headers=kept)

    if control:
        app.register_blueprint(build_queue_routes(runtime.queue))

        @app.get("/status")
        def status() -> Response:
            return jsonify([asdict(found) for found in runtime.status()])

        @app.post("/reconcile")
        def reconcile() -> Response:
            runtime.reconcile()
            return Response(status=202)

    return app


class WebServer:
    """waitress in a thread of this process, on a TCP port or a Unix socket of mode 0600."""

    def __init__(self, app: Flask, *, host: str = "127.0.0.1", port: int = 0, socket: Path | None = None) -> None:
        where: dict[str, Any] = {"host": host, "port": port}
        if socket is not None:
            socket.unlink(missing_ok=True)
            where = {"unix_socket": str(socket), "unix_socket_perms": "600"}
        mask = os.umask(0o177) if socket is not None else None  # never open to others, not even until waitress's chmod
        try:
            self._map: dict[int, Any] = {}
            self._server = create_server(
                app,
                map=self._map,
                threads=THREADS,
                connection_limit=CONNECTIONS,
                channel_timeout=IDLE_S,
                max_request_body_size=MAX_BODY_BYTES,
                inbuf_overflow=MAX_BODY_BYTES + 1,
                outbuf_overflow=MAX_BODY_BYTES + 1,
                ident=None,
                clear_untrusted_proxy_headers=True,
                **where,
            )
        finally:
            if mask is not None:
                os.umask(mask)
        self._socket = socket
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self._server.effective_port)

    def stop(self) -> None:
        """Stop listening; requests in flight get a moment."""
        self._stopping.set()
        self._thread.join()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._server.asyncore.loop(timeout=0.2, map=self._map, use_poll=True, count=1)
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=2)
        self._server.asyncore.loop(timeout=0.0, map=self._map, use_poll=True, count=2)
        self._server.asyncore.close_all(map=self._map, ignore_all=True)


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


def _answer_fault(error: Exception) -> Response | HTTPException:
    if isinstance(error, HTTPException):
        return error
    _log.error("unexpected error", exc_info=error)
    return Response(
        '{"status": 500, "detail": "unexpected error; see the log of eaves up"}',
        500,
        content_type="application/problem+json",
    )
