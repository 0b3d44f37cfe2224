"""HTTP routes of the local platform: broker and functions on its TCP port, status and queues on its Unix socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from eaves import events
from eaves.admin import Queue, metrics
from eaves.admin.metrics import render_metrics
from eaves.delivery import HttpAnswer
from eaves.errors import EavesError, ForbiddenError
from eaves.history.recent_images import RecentImages
from eaves.local.access_token import UNAUTHORISED, AccessToken
from eaves.local.broker import read_trace
from eaves.local.queues import build_queue_routes
from eaves.platform import FunctionStatus
from eaves.web.origin import HINT, find_foreign, is_same_site
from functions.http import problems

MAX_BODY_BYTES = 32_000_000


class SupervisorView(Protocol):
    """The part of the supervisor that the routes need."""

    def accept(self, event: events.Event, trace: Mapping[str, str]) -> None:
        """Pass an event to the broker, with its trace context by HTTP header."""

    def forward(self, name: str, headers: dict[str, str], body: bytes) -> HttpAnswer:
        """Pass an HTTP request to a function, and return its response."""

    def status(self) -> list[FunctionStatus]:
        """Return the status of every function."""

    def reconcile(self) -> dict[str, str]:
        """Apply the spec files now; return the reason by app for each app that doesn't run or runs only in part."""

    @property
    def queue(self) -> Queue:
        """The broker's queue."""

    @property
    def images(self) -> RecentImages:
        """The newest images."""

    def find_console(self, *, peer: str, asked: str) -> str:
        """Return where a browser that opened the broker's address finds the console; empty when there is none."""


def create_app(runtime: SupervisorView, *, control: bool = False, token: AccessToken | None = None) -> Flask:
    """Create the WSGI application.

    Args:
        runtime: The supervisor.
        control: Whether to answer control requests; only for a socket that belongs to this user.
        token: Token that every request must have; None when only this machine can reach the address.
    """
    app = Flask("eaves.local", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.register_error_handler(EavesError, problems.error_response)
    app.register_error_handler(HTTPException, problems.http_error_response)
    app.register_error_handler(Exception, _answer_fault)

    if not control:
        app.before_request(partial(_refuse_strangers, token))

    @app.post("/")
    def publish() -> Response:
        headers = dict(request.headers.items())
        runtime.accept(events.decode(headers, request.get_data()), read_trace(headers))
        return Response(status=202)

    @app.get("/")
    def explain() -> Response:
        if request.accept_mimetypes.best == "text/html" and (found := _find_console(runtime)):
            return Response(status=303, headers={"Location": found})
        raise MethodNotAllowed(["POST"], description=_FOR_PEOPLE)  # a person opens the address that `eaves up` prints

    @app.post("/functions/<name>")
    def invoke(name: str) -> Response:
        left_out = _HOP_BY_HOP | _CHECKED | ({"authorization"} if token is not None else set())
        passed = {key: value for key, value in request.headers.items() if key.lower() not in left_out}
        answer = runtime.forward(name, passed, request.get_data())
        kept = {key: value for key, value in answer.headers.items() if key.lower() not in _HOP_BY_HOP}
        return Response(answer.body, status=answer.status, headers=kept)

    @app.get("/metrics")
    def show_metrics() -> Response:
        text = render_metrics(runtime.queue.report()) + _render_image_metrics(runtime.images)
        return Response(text, content_type=metrics.CONTENT_TYPE)

    if control:
        app.register_blueprint(build_queue_routes(runtime.queue))

        @app.get("/images")
        def send_image() -> Response:
            """Send the encoded image of an event; the query has source and id, exactly as the event has them."""
            event = runtime.images.find(request.args.get("source", ""), request.args.get("id", ""))
            if event is None:
                return Response(status=404)
            # The sender's own type proves nothing.
            return Response(event.data, content_type="application/octet-stream")

        @app.get("/status")
        def status() -> Response:
            return jsonify([asdict(found) for found in runtime.status()])

        @app.post("/reconcile")
        def reconcile() -> Response:
            return jsonify(failed=runtime.reconcile())

    return app


_FOR_PEOPLE = (
    "This address takes CloudEvents by POST. `eaves events --follow` shows events as they come, `eaves status` "
    "shows what runs."
)
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "host", "content-length", "server", "date"}
)
_CHECKED = frozenset({"origin"})
"""HTTP headers that the local platform checks and doesn't pass on, because a function would compare them with its own
address."""


def _find_console(runtime: SupervisorView) -> str:
    """Return the address of the console for the browser that sends this request; empty when it can't reach it."""
    asked = urlsplit(request.host_url).hostname or ""
    return runtime.find_console(peer=request.remote_addr or "", asked=asked)


def _refuse_strangers(token: AccessToken | None) -> Response | None:
    """Refuse requests of foreign web pages, and requests without the token.

    Returns:
        The response to a request without the token; None when the request is allowed.

    Raises:
        ForbiddenError: When the request comes from a foreign web page.
    """
    host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
    if token is None:
        if reason := find_foreign(host, origin):  # sent directly (Origin) or through DNS rebinding (Host)
            raise ForbiddenError(reason, hint=HINT)
        return None
    if origin is not None and not is_same_site(host, origin):
        raise ForbiddenError(f"requests from the pages of another site are refused (Origin is {origin[:80]!r})")
    if token.is_in(request.headers.get("Authorization", "")):
        return None
    refused = problems.refusal_response(401, UNAUTHORISED)
    refused.headers["WWW-Authenticate"] = "Bearer"
    return refused


def _answer_fault(error: Exception) -> Response:
    return problems.fault_response(error, hint="find this id in the log of `eaves up`")


def _render_image_metrics(images: RecentImages) -> str:
    """Render the memory of the held images as Prometheus text."""
    return (
        "# HELP eaves_console_image_bytes Memory of the newest images that are held for the console.\n"
        "# TYPE eaves_console_image_bytes gauge\n"
        f"eaves_console_image_bytes {images.held_bytes}\n"
        "# HELP eaves_console_images Images that are held for the console.\n"
        "# TYPE eaves_console_images gauge\n"
        f"eaves_console_images {len(images)}\n"
    )
