"""Requests to one API server: time limits, a bounded number of retries, renewed credentials, our own errors.

The official client's own calls retry without bound or not at all, wait for ever and can't send every body as it is; so
requests are made here, on the connections that it has set up.
"""

from __future__ import annotations

import json
import logging
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from eaves.base.backoff import Backoff
from eaves.delivery.response_rules import shorten
from eaves.errors import ClusterError
from eaves.http_client.response_body import LargeAnswerError, read_body
from eaves.http_client.retry_after import parse_retry_after
from knative.client.api_errors import ApiCall, build_api_error, parse_status
from knative.client.connection_errors import (
    BrokenConnectionError,
    build_broken_error,
    build_foreign_error,
    build_unreachable_error,
)

CONNECT_TIMEOUT_S = 10.0
MAX_BODY_BYTES = 64 << 20
RETRIES = Backoff(retry=3, first_s=0.25, cap_s=4.0)
_AGAIN = frozenset({429, 503})
_CHUNK_BYTES = 64 << 10
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConnection:
    """An API server as one user reaches it.

    Attributes:
        pool: With its certificates, and the user's.
        server: URL of the API server, without a slash at its end.
        authorize: The headers that say who asks; may renew a token that runs out.
        tls: Makes the same trust and client certificate for connections beside the pool's.
        server_name: Name that the server's certificate is checked for; empty: the URL's host.
        proxy: URL of the proxy that the server is reached through; empty: none.
        proxy_headers: What the proxy is sent.
    """

    pool: urllib3.PoolManager
    server: str
    authorize: Callable[[], Mapping[str, str]]
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context
    server_name: str = ""
    proxy: str = ""
    proxy_headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """What is sent.

    Attributes:
        call: For messages.
        method: HTTP's.
        path: At the server.
        query: Of the URL; a text goes as it is.
        headers: Beside those that say who asks.
        body: Content.
        repeatable: Whether it may be sent again when its answer was lost.
    """

    call: ApiCall
    path: str
    method: str = "GET"
    query: Mapping[str, str] | str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    repeatable: bool = True

    def url(self, server: str) -> str:
        """Where it goes."""
        query = self.query if isinstance(self.query, str) else urlencode(self.query)
        return server + quote(self.path, safe="/:@!$&'()*+,;=~%") + (f"?{query}" if query else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResponse:
    """A response, read to its end; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    latency_ms: float


class Deadline:
    """So many seconds from now."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._end = time.monotonic() + limit_s

    @property
    def left_s(self) -> float:
        """Seconds left; negative when it is over."""
        return self._end - time.monotonic()


class ApiTransport:
    """Sends requests to one API server; safe to use from many threads.

    Args:
        call: What all requests have in common, for messages.
        connect: Makes a connection; called again when the server no longer takes its credentials.
        timeout_s: For a request with all its retries.
        chance: Random numbers in [0, 1), for pauses.
    """

    def __init__(
        self,
        call: ApiCall,
        connect: Callable[[], ApiConnection],
        *,
        timeout_s: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._connect, self._connection = connect, connect()
        self.call = replace(call, server=self._connection.server)
        self._timeout_s, self._chance = timeout_s, chance
        self._generation = 0
        self._lock = threading.Lock()

    def json(self, request: ApiRequest) -> dict[str, Any]:
        """What `ask` brings, when the API server does what it was asked.

        Raises:
            ClusterError: When it doesn't, or answers with something else than an object.
        """
        return parse_object(request.call, self.send(request))

    def send(self, request: ApiRequest, *, timeout_s: float | None = None) -> ApiResponse:
        """An answer, whatever its status; asked for again when the server is overloaded or the connection breaks.

        Raises:
            UnreachableClusterError: When there is none, within this time or the transport's own.
        """
        deadline, failures = Deadline(timeout_s or self._timeout_s), 0
        while True:
            failures += 1
            try:
                answer = self.send_once(request, deadline)
            except BrokenConnectionError:
                pause_s = self._pause_s(failures, None, deadline)
                if not request.repeatable or pause_s is None:
                    raise
            else:
                asked_s = retry_after_s(answer)
                if answer.status not in _AGAIN and (asked_s is None or answer.status < 500):
                    return answer
                pause_s = self._pause_s(failures, asked_s, deadline)
                if pause_s is None:
                    return answer
            time.sleep(pause_s)

    def send_once(self, request: ApiRequest, deadline: Deadline) -> ApiResponse:
        """One attempt at an answer, whatever its status; a refused token is renewed once.

        Raises:
            UnreachableClusterError: When there is none.
        """
        started, renewed = time.monotonic(), False
        while True:
            response, generation = self._send(request, deadline)
            content = _read(request.call, response, deadline)
            # A backend behind the proxy may answer 401 too; it has no Status.
            if response.status != 401 or renewed or parse_status(content) is None:
                return ApiResponse(
                    status=response.status,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=content,
                    latency_ms=(time.monotonic() - started) * 1000,
                )
            self.renew(generation)
            renewed = True

    def stream(self, request: ApiRequest, limit_s: float) -> Iterator[bytes]:
        """The chunks of an answer as they come, until it ends or time is over.

        Raises:
            BrokenConnectionError: When the connection breaks.
            UnreachableClusterError: When there is no answer.
            ClusterError: When the server refuses.
        """
        deadline = Deadline(limit_s)
        response, generation = self._send(request, deadline)
        if response.status == 401:
            response.close()
            self.renew(generation)
            response, _ = self._send(request, deadline)
        if response.status != 200:
            raise build_api_error(response.status, _read(request.call, response, deadline), request.call)
        try:
            while deadline.left_s > 0:
                # The time limit of a read was set when the request was sent.
                if (sock := getattr(response.connection, "sock", None)) is not None:
                    sock.settimeout(max(deadline.left_s, 0.001))
                try:
                    chunk = response.read1(_CHUNK_BYTES)
                except ReadTimeoutError:
                    return
                except (HTTPError, OSError) as error:
                    raise build_broken_error(error, request.call) from error
                if not chunk:
                    return
                yield chunk
        finally:
            response.close()

    def _send(self, request: ApiRequest, deadline: Deadline) -> tuple[urllib3.BaseHTTPResponse, int]:
        """The beginning of an answer, and which credentials were sent."""
        connection, identity, generation = self.credentials()
        left_s = max(deadline.left_s, 0.001)
        try:
            response = connection.pool.request(
                request.method,
                request.url(connection.server),
                body=request.body,
                headers={**request.headers, **identity},
                timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT_S, left_s), total=left_s),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (HTTPError, OSError) as error:
            raise build_unreachable_error(error, request.call, deadline.limit_s) from error
        for warning in _WARNING.findall(response.headers.get("warning", "")):
            _log.info("%s: %s: %s", request.call.where, request.call.what, shorten(warning))
        return response, generation

    def credentials(self) -> tuple[ApiConnection, Mapping[str, str], int]:
        """The connection, the headers that say who asks, and a number that `renew` wants when they are refused."""
        with self._lock:
            return self._connection, self._connection.authorize(), self._generation

    def renew(self, generation: int) -> None:
        """Read the credentials of that number again, unless another thread just did."""
        with self._lock:
            if self._generation == generation:
                self._connection = self._connect()
                self._generation += 1

    def _pause_s(self, failures: int, asked_s: float | None, deadline: Deadline) -> float | None:
        """How long to wait before the next attempt; None when there is to be none."""
        pause_s = RETRIES.pause_s(failures, jitter=self._chance(), retry_after_s=asked_s)
        return None if RETRIES.exhausted(failures) or pause_s >= deadline.left_s else pause_s


def parse_object(call: ApiCall, answer: ApiResponse) -> dict[str, Any]:
    """The object in an answer.

    Raises:
        ClusterError: When it is a refusal, or something else than an object.
    """
    if not 200 <= answer.status < 300:
        raise build_api_error(answer.status, answer.body, call, wait_s=retry_after_s(answer))
    try:
        value = json.loads(answer.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise build_foreign_error(answer.body, call)
    return value


def retry_after_s(answer: ApiResponse) -> float | None:
    """How long the server wants to be left alone: its header's word, or its Status's."""
    if (header := parse_retry_after(answer.headers.get("retry-after"), time.time())) is not None:
        return header
    details = (parse_status(answer.body) or {}).get("details") if answer.status >= 400 else None
    seconds = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    return float(seconds) if isinstance(seconds, int) and seconds > 0 else None


def _read(call: ApiCall, response: urllib3.BaseHTTPResponse, deadline: Deadline) -> bytes:
    try:
        return read_body(response, time.monotonic() + deadline.left_s, max_bytes=MAX_BODY_BYTES)
    except LargeAnswerError as error:
        message = f"{call.where}: the answer about {call.what} is larger than {MAX_BODY_BYTES} bytes"
        raise ClusterError(message) from error
    except (HTTPError, OSError) as error:
        raise build_unreachable_error(error, call, deadline.limit_s) from error
