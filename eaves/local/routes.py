"""HTTP routes of the local platform: broker and functions on its TCP port, status and queues on its Unix socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from eaves.admin.report import QUEUES, to_json
from eaves.admin.server import answer_metrics, answer_queue
from eaves.errors import ForbiddenError, OverloadedError
from eaves.events import decode
from eaves.ingress import Request, Response, answer_error, answer_json, answer_problem
from eaves.local.access_token import UNAUTHORISED, AccessToken
from eaves.local.broker import read_trace
from eaves.web.origin import HINT, find_foreign, is_same_site

if TYPE_CHECKING:
    from eaves.local.supervisor import Supervisor

MAX_BODY_BYTES = 32_000_000
RETRY_AFTER_S = "1"
FUNCTIONS, RELAYS = "/functions", "/relays"
"""Routes whose paths have a further part: the name of an app."""
_FOR_PEOPLE = (
    "This address takes CloudEvents by POST. `eaves up` prints the console's address; `eaves events --follow` shows "
    "events as they come, `eaves status` shows what runs."
)
_OF_ONE_CONNECTION = frozenset({
    "connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "trailer", "upgrade", "expect", "host",
    "content-length", "server", "date",
})  # fmt: skip
"""HTTP headers that aren't passed on, because they concern one connection."""
_OWN = frozenset({"content-encoding", "origin"})
"""HTTP headers of a request that aren't passed on either: a body is unpacked here, and a function would compare the
origin with its own address."""


class PlatformRoutes:
    """Answers the requests to one address of the platform.

    Args:
        runtime: The supervisor.
        control: Whether to answer control requests; only for a socket that belongs to this user.
        token: Token that every request must have; None when only this machine can reach the address.
    """

    def __init__(self, runtime: Supervisor, *, control: bool = False, token: AccessToken | None = None) -> None:
        self._runtime = runtime
        self._is_control = control
        self._token = token
        self.routes: dict[str, dict[str, Callable[[Request], Response]]] = {
            "/": {"POST": self._publish},
            FUNCTIONS: {"POST": self._invoke},
            RELAYS: {"POST": self._publish},
            "/metrics": {"GET": lambda _: answer_metrics(self._runtime.queue.report())},
        }
        """Functions that answer, by path and method."""
        if control:
            self.routes |= {
                QUEUES: {"POST": self._answer_queue},
                "/images": {"GET": self._send_image},
                "/status": {"GET": self._show_status},
                "/reconcile": {"POST": self._reconcile},
            }

    def __call__(self, request: Request) -> Response:
        """Answer one request; a caller that isn't let in is refused before its body is read."""
        if not self._is_control and (refused := self._refuse(request)) is not None:
            return refused
        request.admit()
        first = "/".join(request.path.split("/")[:2])
        found = self.routes.get(first if first in (FUNCTIONS, RELAYS) else request.path)
        if found is None:
            return answer_problem(404, f"no such endpoint: {request.path[:128]}")
        handle = found.get("GET" if request.method == "HEAD" else request.method)
        if handle is None:
            detail = _FOR_PEOPLE if first == "/" else f"the method {request.method[:16]} is not supported here"
            return answer_problem(405, detail, Allow=", ".join(found))
        try:
            return handle(request)
        except OverloadedError as error:
            return answer_error(error, Retry_After=RETRY_AFTER_S)

    def _refuse(self, request: Request) -> Response | None:
        """Refuse requests of foreign web pages, and requests without the token.

        Raises:
            ForbiddenError: When the request comes from a foreign web page.
        """
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if self._token is None:
            if reason := find_foreign(host, origin):  # sent directly (Origin) or through DNS rebinding (Host)
                raise ForbiddenError(reason, hint=HINT)
            return None
        if not self._token.is_in(request.headers.get("authorization", "")):
            return answer_problem(401, UNAUTHORISED, WWW_Authenticate="Bearer")
        if origin is not None and not is_same_site(host, origin):
            raise ForbiddenError(f"requests from the pages of another site are refused (Origin is {origin[:80]!r})")
        return None

    def _publish(self, request: Request) -> Response:
        headers, relay_of = request.header_fields(), request.path.removeprefix(RELAYS)[1:]
        self._runtime.accept(decode(headers, _read_body(request)), read_trace(headers), relay_of=relay_of)
        return Response(status=202)

    def _answer_queue(self, request: Request) -> Response:
        return answer_queue(self._runtime.queue, _read_body(request).decode(errors="replace"))

    def _invoke(self, request: Request) -> Response:
        left_out = _OF_ONE_CONNECTION | _OWN | ({"authorization"} if self._token is not None else set())
        passed = {name: value for name, value in request.headers.items() if name.lower() not in left_out}
        answer = self._runtime.forward(request.path.removeprefix(f"{FUNCTIONS}/"), passed, _read_body(request))
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_ONE_CONNECTION}
        return Response(status=answer.status, headers=kept, body=answer.body)

    def _send_image(self, request: Request) -> Response:
        """Send the encoded image of an event; the query has source and id, exactly as the event has them."""
        wanted = dict(parse_qsl(request.query, keep_blank_values=True))
        event = self._runtime.images.find(wanted.get("source", ""), wanted.get("id", ""))
        if event is None:
            return answer_problem(404, "the image is not held any more")
        # The sender's own type proves nothing.
        return Response(status=200, headers={"Content-Type": "application/octet-stream"}, body=event.data)

    def _show_status(self, _: Request) -> Response:
        return answer_json(to_json(self._runtime.status()))

    def _reconcile(self, _: Request) -> Response:
        return answer_json({"failed": self._runtime.reconcile()})


def _read_body(request: Request) -> bytes:
    """Return the body; an event without data may have neither a length nor chunks."""
    return b"" if request.is_read else request.read_body(MAX_BODY_BYTES)
