"""Requests to one API server: time limits, a bounded number of retries, renewed credentials, our own errors.

The official client's own calls retry without bound or not at all, wait for ever, print the server's warnings' headers
with every exception and can't send a body as it is; so the requests are made here, on the connections it has set up.
"""

from __future__ import annotations

import json
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from eaves.delivery.rules import Backoff, brief, parse_retry_after
from eaves.errors import ClusterError, UnreachableClusterError
from knative.refusal import Call, parse_status, refused

CONNECT_TIMEOUT_S = 10.0
MAX_BODY_BYTES = 64 << 20
MAX_ERROR_BYTES = 64 << 10
RETRIES = Backoff(retry=3, backoff_s=0.25, backoff_cap_s=4.0)
_AGAIN = frozenset({429, 503})
_CHUNK_BYTES = 64 << 10
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An API server as one user reaches it.

    Attributes:
        pool: With its certificates, and the user's.
        server: URL of the API server, without a slash at its end.
        authorize: The headers that say who asks; may renew a token that runs out.
    """

    pool: urllib3.PoolManager
    server: str
    authorize: Callable[[], Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    latency_ms: float


class BrokenError(UnreachableClusterError):
    """A connection that was there and broke; whether the server did what it was asked isn't known."""


class Transport:
    """Sends requests to one API server; safe to use from many threads.

    Args:
        call: What all requests have in common, for messages.
        connect: Makes a connection; called again when the server no longer takes its credentials.
        timeout_s: For a request with all its retries.
        chance: Random numbers in [0, 1), for pauses.
    """

    def __init__(
        self,
        call: Call,
        connect: Callable[[], Connection],
        *,
        timeout_s: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.call, self.timeout_s = call, timeout_s
        self._chance = chance
        self._connect = connect
        self._connection = connect()
        self._generation = 0
        self._lock = threading.Lock()

    def ask(
        self,
        call: Call,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        repeatable: bool = True,
    ) -> Answer:
        """One request and its answer, whatever its status.

        Args:
            call: For messages.
            method: HTTP's.
            path: At the server.
            query: Of the URL.
            headers: Of the request.
            body: Of the request.
            repeatable: Whether it may be sent again when its answer was lost.

        Raises:
            UnreachableClusterError: When there is no answer.
        """
        deadline, failures = time.monotonic() + self.timeout_s, 0
        while True:
            failures += 1
            asked_s = None
            try:
                answer = self.once(
                    call, method, path, query=query, headers=headers, body=body, timeout_s=deadline - time.monotonic()
                )
            except BrokenError:
                pause_s = self._pause_s(failures, None, deadline)
                if not repeatable or pause_s is None:
                    raise
            else:
                asked_s = retry_after_s(answer)
                if answer.status not in _AGAIN and (asked_s is None or answer.status < 500):
                    return answer
                pause_s = self._pause_s(failures, asked_s, deadline)
                if pause_s is None:
                    return answer
            time.sleep(pause_s)

    def json(self, call: Call, method: str, path: str, **options: Any) -> dict[str, Any]:
        """What `ask` brings, when the API server does what it was asked.

        Raises:
            ClusterError: When it doesn't, or answers with something else than an object.
        """
        return self.parse(call, self.ask(call, method, path, **options))

    def parse(self, call: Call, answer: Answer) -> dict[str, Any]:
        """The object in an answer.

        Raises:
            ClusterError: When it is a refusal, or something else than an object.
        """
        if not 200 <= answer.status < 300:
            raise refused(answer.status, answer.body, self.named(call), wait_s=retry_after_s(answer))
        try:
            value = json.loads(answer.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise self._foreign(call, answer.body)
        return value

    def once(
        self,
        call: Call,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float,
    ) -> Answer:
        """One attempt; a refused token is renewed once.

        Raises:
            UnreachableClusterError: When there is no answer.
        """
        started = time.monotonic()
        deadline = started + timeout_s
        again = True
        while True:
            response, generation = self._send(call, method, path, query, headers, body, deadline)
            content = b"".join(self._chunks(call, response, deadline))
            # A backend behind the proxy may answer 401 too; it has no Status.
            if response.status == 401 and again and parse_status(content) is not None:
                self._renew(generation)
                again = False
                continue
            return Answer(
                status=response.status,
                headers={name.lower(): value for name, value in response.headers.items()},
                body=content,
                latency_ms=(time.monotonic() - started) * 1000,
            )

    def stream(self, call: Call, path: str, *, query: Mapping[str, str], timeout_s: float) -> Iterator[bytes]:
        """The chunks of an answer as they come, until it ends or time is over.

        Raises:
            BrokenError: When the connection breaks.
            UnreachableClusterError: When there is no answer.
            ClusterError: When the server refuses.
        """
        deadline = time.monotonic() + timeout_s
        response, generation = self._send(call, "GET", path, query, None, None, deadline)
        if response.status == 401:
            response.close()
            self._renew(generation)
            response, _ = self._send(call, "GET", path, query, None, None, deadline)
        if response.status != 200:
            body = b"".join(self._chunks(call, response, deadline))
            raise refused(response.status, body, self.named(call))
        return self._streamed(call, response, deadline)

    def _streamed(self, call: Call, response: urllib3.BaseHTTPResponse, deadline: float) -> Iterator[bytes]:
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                # The time limit of a read is that of the request, which began earlier.
                if (sock := getattr(response.connection, "sock", None)) is not None:
                    sock.settimeout(left_s)
                try:
                    chunk = response.read1(_CHUNK_BYTES)
                except ReadTimeoutError:
                    return
                except (HTTPError, OSError) as error:
                    raise self._broken(call, error) from error
                if not chunk:
                    return
                yield chunk
        finally:
            response.close()

    def named(self, call: Call) -> Call:
        """A call with its server."""
        return replace(call, server=self._connection.server)

    def _send(
        self,
        call: Call,
        method: str,
        path: str,
        query: Mapping[str, str] | str | None,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        deadline: float,
    ) -> tuple[urllib3.BaseHTTPResponse, int]:
        with self._lock:
            connection, generation = self._connection, self._generation
            identity = connection.authorize()
        left_s = max(deadline - time.monotonic(), 0.001)
        url = (
            connection.server
            + quote(path, safe="/:@!$&'()*+,;=~%")
            + (f"?{query if isinstance(query, str) else urlencode(query)}" if query else "")
        )
        try:
            response = connection.pool.request(
                method,
                url,
                body=body,
                headers={**(headers or {}), **identity},
                timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT_S, left_s), total=left_s),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (HTTPError, OSError) as error:
            raise self._unreachable(call, error) from error
        for warning in _WARNING.findall(response.headers.get("warning", "")):
            _log.info("%s: %s: %s", call.where, call.what, brief(warning))
        return response, generation

    def _renew(self, generation: int) -> None:
        """Read the credentials again, unless another thread just did."""
        with self._lock:
            if self._generation == generation:
                self._connection = self._connect()
                self._generation += 1

    def _chunks(self, call: Call, response: urllib3.BaseHTTPResponse, deadline: float) -> Iterator[bytes]:
        """The body, within its limit and its time. A connection that wasn't read to the end is not used again."""
        limit = MAX_BODY_BYTES if response.status < 300 else MAX_ERROR_BYTES
        complete = False
        try:
            while limit > 0:
                part = response.read1(_CHUNK_BYTES)
                if not part:
                    complete = True
                    return
                yield part[:limit]
                limit -= len(part)
                if time.monotonic() > deadline:
                    raise TimeoutError("time ran out within the answer")
            if response.status < 300:
                raise ClusterError(f"{call.where}: the answer about {call.what} is larger than {MAX_BODY_BYTES} bytes")
        except (HTTPError, OSError) as error:
            raise self._unreachable(call, error) from error
        finally:
            if complete:
                response.release_conn()
            else:
                response.close()

    def _pause_s(self, failures: int, asked_s: float | None, deadline: float) -> float | None:
        """How long to wait before the next attempt; None when there is to be none."""
        pause_s = RETRIES.pause_s(failures, chance=self._chance(), retry_after_s=asked_s)
        return None if RETRIES.exhausted(failures) or time.monotonic() + pause_s >= deadline else pause_s

    def _broken(self, call: Call, error: Exception) -> BrokenError:
        call = self.named(call)
        return BrokenError(
            f"{call.where}: the connection to {call.server} broke: {_reason(error)}",
            hint=f"when this says ok, try again: {call.kubectl('get --raw /readyz')}",
        )

    def _unreachable(self, call: Call, error: Exception) -> UnreachableClusterError:
        """Source: which exceptions urllib3 raises when it is told not to retry."""
        call = self.named(call)
        if isinstance(error, ProtocolError | ConnectionError) and not isinstance(error, NewConnectionError):
            return self._broken(call, error)
        hint = f"check the link; when this says ok, try again: {call.kubectl('get --raw /readyz')}"
        if isinstance(error, NameResolutionError):
            return UnreachableClusterError(f"{call.where}: {call.server}: its name doesn't resolve", hint=hint)
        if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
            return UnreachableClusterError(f"{call.where}: no connection to {call.server} in time", hint=hint)
        if isinstance(error, ReadTimeoutError | TimeoutError):
            limit = f"{self.timeout_s:g} s"
            return UnreachableClusterError(f"{call.where}: no answer from {call.server} within {limit}", hint=hint)
        if isinstance(error, SSLError):
            hint = f"renew the kubeconfig, check the clock: {call.kubectl('config view --minify')}"
            return UnreachableClusterError(f"{call.where}: no trust in {call.server}: {_reason(error)}", hint=hint)
        return UnreachableClusterError(f"{call.where}: no connection to {call.server}: {_reason(error)}", hint=hint)

    def _foreign(self, call: Call, body: bytes) -> ClusterError:
        call = self.named(call)
        said = brief(body[:400].decode("utf-8", "replace"), 100)
        return ClusterError(
            f"{call.where}: {call.server} answers, but not as an API server does: {said}",
            hint=f"check the server in the kubeconfig: {call.kubectl('config view --minify')}",
        )


def retry_after_s(answer: Answer) -> float | None:
    """How long the server wants to be left alone: its header's word, or its Status's."""
    if (header := parse_retry_after(answer.headers.get("retry-after"), time.time())) is not None:
        return header
    details = (parse_status(answer.body) or {}).get("details") if answer.status >= 400 else None
    seconds = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    return float(seconds) if isinstance(seconds, int) and seconds > 0 else None


def _reason(error: Exception) -> str:
    """What an exception of urllib3 is about, without the objects it prints."""
    text = str(error.original_error if isinstance(error, ProxyError) else error)
    return brief(re.sub(r"<[^>]*>:? ?|\w+\(host=[^)]*\): ?", "", text), 200)
