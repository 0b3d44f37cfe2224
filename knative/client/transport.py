"""Requests to one API server, with time limits, a bounded number of retries, renewed credentials and errors of Eaves.

The official client's own calls retry without bound or not at all, have no time limit and can't send every body
unchanged. So requests are made here.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlencode

from eaves.base.backoff import Backoff
from eaves.errors import DeliveryError
from eaves.http_client.client import BROKEN, CONNECT_TIMEOUT_S, HttpAnswer, HttpClient, read_answer
from eaves.http_client.headers import parse_retry_after
from knative.client.api_errors import (
    ApiCall,
    BrokenConnectionError,
    build_api_error,
    build_foreign_error,
    build_unreachable_error,
    parse_status,
)
from knative.client.kinds import Manifest

MAX_BODY_BYTES = 64 << 20
RETRIES = Backoff(retry=3, first_s=0.25, cap_s=4.0)
_AGAIN = frozenset({429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConnection:
    """A connection to an API server with the credentials of one user.

    Attributes:
        http: HTTP client with the server's trust, the user's certificates and the proxy.
        server: URL of the API server, without a slash at its end.
        authorize: Function that returns the user's authentication headers; it may renew a token that is about to
            expire.
    """

    http: HttpClient
    server: str
    authorize: Callable[[], Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """A request to an API server.

    Attributes:
        call: Description of the request for error messages.
        method: HTTP method.
        path: Path at the server.
        query: Query of the URL; a string is sent unchanged.
        headers: Headers besides the user's authentication headers.
        body: Body of the request; None sends none.
        repeatable: Whether the request may be sent again when its answer was lost.
    """

    call: ApiCall
    path: str
    method: str = "GET"
    query: Mapping[str, str] | str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    repeatable: bool = True

    def url(self, server: str) -> str:
        """Build the request's URL at a server."""
        query = self.query if isinstance(self.query, str) else urlencode(self.query)
        return server + quote(self.path, safe="/:@!$&'()*+,;=~%") + (f"?{query}" if query else "")


class ApiTransport:
    """Sender of requests to one API server, with retries; it is safe to use from many threads.

    Args:
        call: Description that the error messages of all requests begin with.
        connect: Function that makes a connection; it is called again when the server refuses the credentials.
        timeout_s: Maximum seconds for a request with all its retries.
    """

    def __init__(
        self,
        call: ApiCall,
        connect: Callable[[], ApiConnection],
        *,
        timeout_s: float,
    ) -> None:
        self._connect, self._connection = connect, connect()
        self.call = replace(call, server=self._connection.server)
        self._timeout_s = timeout_s
        self._generation = 0
        self._lock = threading.Lock()

    def json(self, request: ApiRequest) -> Manifest:
        """Send a request and return the object in its answer."""
        return parse_object(request.call, self.send(request))

    def send(self, request: ApiRequest, *, timeout_s: float | None = None) -> HttpAnswer:
        """Send a request; return its answer of any status.

        The request is repeated when the server is overloaded or the connection breaks.
        """
        limit_s, started, failures = timeout_s or self._timeout_s, time.monotonic(), 0
        while True:
            failures += 1
            left_s = limit_s - (time.monotonic() - started)
            try:
                answer = self.send_once(request, left_s, limit_s=limit_s)
            except BrokenConnectionError:
                pause_s = self._pause_s(failures, None, left_s)
                if not request.repeatable or pause_s is None:
                    raise
            else:
                asked_s = parse_retry_after(answer.headers)
                if answer.status not in _AGAIN and (asked_s is None or answer.status < 500):
                    return answer
                pause_s = self._pause_s(failures, asked_s, left_s)
                if pause_s is None:
                    return answer
            time.sleep(pause_s)

    def send_once(self, request: ApiRequest, timeout_s: float, *, limit_s: float = 0.0) -> HttpAnswer:
        """Send a request once and return its answer of any status; renew refused credentials once.

        Args:
            timeout_s: Time that is left, seconds.
            limit_s: The whole time limit, for messages; 0: `timeout_s`.
        """
        started, renewed = time.monotonic(), False
        while True:
            connection, identity, generation = self.credentials()
            left_s = max(timeout_s - (time.monotonic() - started), 0.001)
            try:
                response = connection.http.open(
                    request.method,
                    request.url(connection.server),
                    body=request.body,
                    headers={**request.headers, **identity},
                    connect_s=min(CONNECT_TIMEOUT_S, left_s),
                    wait_s=left_s,
                    total_s=left_s,
                )
                answer = read_answer(response, max_bytes=MAX_BODY_BYTES)
            except (DeliveryError, ValueError, *BROKEN) as error:
                raise build_unreachable_error(error, request.call, limit_s or timeout_s) from error
            # A backend behind the API server's proxy may answer 401 too; its answer has no Status. Nor has that of a
            # login proxy before the API server, through which some clusters are reached.
            is_backend = request.call.subresource == "proxy" and parse_status(answer.body) is None
            if answer.status != 401 or renewed or is_backend:
                return replace(answer, latency_ms=(time.monotonic() - started) * 1000)
            self.renew(generation)
            renewed = True

    def credentials(self) -> tuple[ApiConnection, Mapping[str, str], int]:
        """Return (connection, authentication headers of the user, generation of these credentials) for one request.

        The generation is a number that grows by one each time the credentials are read again; `renew` takes it.
        """
        with self._lock:
            return self._connection, self._connection.authorize(), self._generation

    def renew(self, generation: int) -> None:
        """Read the credentials again, unless another thread has done so since the given generation."""
        with self._lock:
            if self._generation == generation:
                self._connection = self._connect()
                self._generation += 1

    def _pause_s(self, failures: int, asked_s: float | None, left_s: float) -> float | None:
        """Return the seconds to wait before the next attempt; None when the request must not be sent again."""
        jitter = random.random()  # noqa: S311 - it only spreads retries
        pause_s = RETRIES.pause_s(failures, jitter=jitter, retry_after_s=asked_s)
        return None if RETRIES.exhausted(failures) or pause_s >= left_s else pause_s


def parse_object(call: ApiCall, answer: HttpAnswer) -> Manifest:
    """Parse the JSON object in an answer of the API server."""
    if not 200 <= answer.status < 300:
        raise build_api_error(answer.status, answer.body, call)
    try:
        value = json.loads(answer.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise build_foreign_error(answer.body, call)
    return value
