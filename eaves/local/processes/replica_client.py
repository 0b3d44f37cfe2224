"""HTTP client for replicas on loopback, which keeps connections open and needs no DNS, proxies or TLS.

Every event passes through this client. `eaves.delivery.SinkClient`, which reaches any address, takes twice the CPU
time.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import cast

from eaves.delivery import HttpAnswer, SinkResponse
from eaves.delivery.client import CONNECT_TIMEOUT_S, MAX_ANSWER_BYTES, build_message, no_answer, read_answer
from eaves.errors import UnreachableError
from eaves.events import Event
from eaves.http_client.connection_errors import describe_os_error
from eaves.http_client.response_body import read_body
from eaves.local.processes.process import HOST

KEEP_S = 60.0
"""Time for which the client keeps an unused connection, seconds. It is shorter than the time after which a function
closes an idle connection (`functions.http.server.IDLE_S`), because a request that is sent at that moment would
get no response."""


class ReplicaClient:
    """Sends requests to one replica from many threads. It follows no redirects and never retries: the spool retries.

    Args:
        port: Port on loopback that the replica listens on.
        keep_s: Seconds that an unused connection is kept.
    """

    def __init__(self, port: int, *, keep_s: float = KEEP_S) -> None:
        self.url = f"http://{HOST}:{port}/"
        self._port = port
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._kept: list[tuple[float, HTTPConnection]] = []
        self._closed = False

    def post(self, event: Event, *, timeout_s: float, now: float, more_headers: Mapping[str, str]) -> SinkResponse:
        """Send one event in binary mode and read the response, which may be a CloudEvent.

        Args:
            event: Event to send.
            timeout_s: Time limit in seconds, see `exchange`.
            now: Current time, Unix seconds.
            more_headers: Headers in addition to those of the event.

        Raises:
            EventError: When the event can't be encoded; retries don't help.
            UnreachableError: When nothing was sent.
            DeliveryError: When there is no usable response.
        """
        headers, body = build_message(event, prefer_reply=True, more_headers=more_headers)
        return read_answer(self.exchange(headers, body, timeout_s=timeout_s), self.url, event, now=now)

    def exchange(self, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> HttpAnswer:
        """POST one request unchanged, and return the unchanged response.

        Args:
            headers: Headers of the request.
            body: Body of the request.
            timeout_s: Time limit in seconds for connecting, for each wait for bytes, and for the whole response.

        Raises:
            UnreachableError: When nothing was sent.
            DeliveryError: When there is no usable response.
        """
        started = time.monotonic()
        connection = self._take() or self._connect(min(CONNECT_TIMEOUT_S, timeout_s))
        try:
            response = self._ask(connection, headers, body, timeout_s)
            content = read_body(response, started + timeout_s, max_bytes=MAX_ANSWER_BYTES)
        except (HTTPException, OSError) as error:
            connection.close()
            raise no_answer(self.url, error) from error
        except BaseException:
            connection.close()
            raise
        self._give_back(connection, response)
        return HttpAnswer(
            status=response.status,
            headers=_join_headers(response),
            body=content,
            latency_ms=(time.monotonic() - started) * 1000,
        )

    def close(self) -> None:
        """Close all unused connections; connections in use are closed when their exchange ends."""
        with self._lock:
            self._closed = True
            kept, self._kept = self._kept, []
        for _, connection in kept:
            connection.close()

    def _take(self) -> HTTPConnection | None:
        """Return an open connection for a new exchange, the most recently used one; None when there is none."""
        oldest = time.monotonic() - self._keep_s
        with self._lock:
            stale = [connection for since, connection in self._kept if since <= oldest]
            self._kept = [(since, connection) for since, connection in self._kept if since > oldest]
        for connection in stale:
            connection.close()
        while True:
            with self._lock:
                if not self._kept:
                    return None
                _, connection = self._kept.pop()
            if not _is_readable(connection):
                return connection
            connection.close()

    def _connect(self, timeout_s: float) -> HTTPConnection:
        connection = HTTPConnection(HOST, self._port, timeout=timeout_s)
        connection.response_class = ReplicaResponse
        try:
            connection.connect()
        except OSError as error:
            reason = f"it can't be reached: {describe_os_error(error)}"
            raise UnreachableError(f"no connection to {self.url}: {reason}", hint="check that it runs") from error
        return connection

    def _ask(
        self, connection: HTTPConnection, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> ReplicaResponse:
        connection.sock.settimeout(timeout_s)
        # A replica may refuse a body by its headers and close before it has read the body; its response can still be
        # read.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", "/", body, dict(headers))
        return cast(ReplicaResponse, connection.getresponse())

    def _give_back(self, connection: HTTPConnection, response: ReplicaResponse) -> None:
        """Keep a connection for the next exchange when its response was read to the end."""
        with self._lock:
            keeps = response.is_whole and not response.will_close and not self._closed
            if keeps:
                self._kept.append((time.monotonic(), connection))
        if not keeps:
            connection.close()


class ReplicaResponse(HTTPResponse):
    """HTTP response that raises an error for a truncated body, and records whether the body was read to its end.

    Attributes:
        is_whole: Whether the body was read to its end.
    """

    is_whole = False

    def read1(self, n: int = -1, /) -> bytes:
        """Read up to `n` bytes of the body, and raise an error when the body is truncated.

        The standard library's method returns the truncated body as if it were complete.

        Raises:
            IncompleteRead: When the body ends before its Content-Length.
        """
        part = super().read1(n)
        if not part and self.length:
            raise IncompleteRead(b"", self.length)
        return part

    def release_conn(self) -> None:
        """Record that the body was read to its end; the connection stays open."""
        self.is_whole = True
        self.close()


def _is_readable(connection: HTTPConnection) -> bool:
    """Return whether an idle connection can't be used any more, because the replica has closed it or sent bytes."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _join_headers(response: HTTPResponse) -> dict[str, str]:
    """Return the headers of a response, names in lower case; values of a repeated header are joined with a comma."""
    found: dict[str, str] = {}
    for name, value in response.getheaders():
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found
