"""One HTTP connection, with limits of time and memory; it is closed in a way that its last response arrives."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error

from eaves.errors import OverloadedError
from functions.http.request_parser import Parser

IDLE_S = 120.0
"""Seconds after which an idle connection is closed. Go's clients (Knative's proxies) close idle connections after 90 s:
the sender should close first, because it knows whether it is about to send. Source: net/http,
DefaultTransport.IdleConnTimeout."""
STALLED_S = 2.0
"""Seconds without a byte after which a connection counts as stalled. A stalled request may be refused to free memory
for other requests, a connection whose request was refused is closed, and the process doesn't wait for stalled
connections at shutdown."""
LINGER_S = 30.0
"""Maximum seconds for which further bytes of a sender are discarded after its request was refused, so that it reads the
response: if the connection were closed at once, it would be reset, and the sender would take that for an outage and
retry. Source: RFC 9112, section 9.6."""


class RequestTimeout(Error):  # type: ignore[misc]  # noqa: N818 - named as waitress names its own
    """Error for a request that doesn't arrive in time (408)."""

    code = 408
    reason = "Request Timeout"


class TooMuchAtOnce(Error):  # type: ignore[misc]  # noqa: N818
    """Error for a request whose body needs more memory than is free at present (429)."""

    code = 429
    reason = "Too Many Requests"


class ApplicationResponse(WSGITask):  # type: ignore[misc]
    """Writer of the response that the application returned."""

    wrote_header: bool

    def build_response_header(self) -> bytes:
        """Return the response's header.

        While the process ends, the header tells the client that the connection closes, so that the client sends its
        next request to another replica.
        """
        if self.channel.server.draining:
            self.request.headers["CONNECTION"] = "close"
        header: bytes = super().build_response_header()
        return header

    def write(self, data: bytes) -> None:
        """Send the header and a body that is complete together, with one system call and in one packet."""
        if self.complete and not self.wrote_header and self.has_body and self.content_length == len(data):
            self.channel.write_soon(self.build_response_header() + data)
            self.wrote_header = True
            self.content_bytes_written = len(data)
        else:
            super().write(data)


class RefusedRequest(ErrorTask):  # type: ignore[misc]
    """Writer of the response to a request that was refused before the application got it, as a problem document.

    The statuses are 400, 408, 413, 429 and 431.
    """

    def execute(self) -> None:
        """Write the problem document, then close the connection."""
        from functions.http import problems  # with Flask, which a start doesn't wait for

        error, path = (
            self.request.error,
            getattr(self.request, "path", ""),
        )  # a request whose headers didn't end has none
        with self.channel.server.application.app_context():
            if isinstance(error, TooMuchAtOnce):
                response = problems.error_response(OverloadedError(error.body, hint="send again later"), path=path)
            else:
                response = problems.refusal_response(error.code, str(error.body), path=path)
        self.channel.server.refused(error.code, problems.problem_type(response))
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [item for item in response.headers.items() if item[0] != "Content-Length"]
        self.set_close_on_finish()
        self.channel.refused = True
        body = response.get_data()
        self.content_length = len(body)
        self.write(body)


class HttpConnection(HTTPChannel):  # type: ignore[misc]
    """One HTTP connection; its methods run in the thread of the server's event loop unless documented otherwise.

    Attributes:
        heard: Time when bytes were last received or sent, by the monotonic clock; waitress's own `last_activity` jumps
            when the machine's clock is set.
        refused: Whether a request was refused, so that the connection is closed while its sender may still be sending.
    """

    parser_class = Parser
    task_class = ApplicationResponse
    error_task_class = RefusedRequest
    request: Any = None
    refused = False
    _began = 0.0
    _taken_bytes = 0
    _lingers_since: float | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.heard = time.monotonic()
        super().__init__(*arguments, **named)

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that the connection's requests take, both complete and still arriving ones."""
        return sum(len(one.header_plus) + len(one.body_rcv or b"") for one in self._unanswered())

    @property
    def idle(self) -> bool:
        """Whether the connection has no complete request and no unsent response.

        Closing it then loses no accepted request.
        """
        return not (self.requests or self.total_outbufs_len or self.close_when_flushed)

    @property
    def busy(self) -> bool:
        """Whether the application has a request, or bytes arrive or leave. Stalled connections don't count as busy."""
        moving = time.monotonic() - self.heard < STALLED_S
        return bool(self.requests or (moving and (self.total_outbufs_len or self.request is not None)))

    def received(self, data: bytes) -> bool:
        """Process received bytes, and refuse the request if there is no memory left for it."""
        self.heard = time.monotonic()
        if self._lingers_since is not None:
            return False
        before = self.request
        super().received(data)
        if self.request is None:
            return True
        if self.request is not before:
            self._began, self._taken_bytes = self.heard, 0
        self._taken_bytes += len(data)
        if not self.server.has_room(self):
            self.refuse(TooMuchAtOnce("the limit of memory for request bodies is reached"))
        return True

    def send_continue(self) -> None:
        """Send `100 Continue`, unless the request is already complete or refused.

        Without this method, waitress would send it in any case.
        """
        if not self.request.completed:
            super().send_continue()

    def handle_write(self) -> None:
        """Send the rest of a response, then close the connection if required.

        After a refusal, first wait until the sender has read the response.
        """
        unsent = self.total_outbufs_len
        if self.refused and not self.will_close:
            self._flush_exception(self._flush_some_if_lockable)
            if self.close_when_flushed and self.connected and not (self.total_outbufs_len or self.will_close):
                self._linger()
        else:
            super().handle_write()
        if self.total_outbufs_len < unsent:
            self.heard = time.monotonic()

    def service(self) -> None:
        """Answer one request; this method runs in a thread of the pool."""
        super().service()
        self.heard = time.monotonic()

    def refuse(self, error: Error) -> None:
        """Answer the request that is still arriving with an error, and free its body at once."""
        with self.requests_lock:
            request, self.request = self.request, None
            if request is None:
                return
            request.close()
            request.error, request.completed = error, True
            self.requests.append(request)
            if len(self.requests) == 1:
                self.server.add_task(self)

    def expire(self, now: float, *, timeout_s: float, min_rate_bytes_s: float) -> None:
        """End requests and responses that take too long.

        A request must arrive within `timeout_s` plus the time that its bytes take at the minimum rate, so a sender that
        is very slow is cut off like one that has stalled.

        Args:
            now: Current time of the monotonic clock, seconds.
            timeout_s: Seconds without a byte after which a request or a response is ended.
            min_rate_bytes_s: Number of bytes for which a request gets one more second.

        Source: Apache's mod_reqtimeout, `body=20,MinRate=500`.
        """
        silent_s = now - self.heard
        if self.requests:
            self._began = self.heard = now  # the server keeps it waiting
        elif self._lingers_since is not None:
            self._close_if(silent_s > STALLED_S or now - self._lingers_since > LINGER_S)
        elif self.total_outbufs_len:
            self._close_if(silent_s > timeout_s)
        elif self.request is None:
            self._close_if(silent_s > IDLE_S)
        elif silent_s > timeout_s or now - self._began > timeout_s + self._taken_bytes / min_rate_bytes_s:
            self.refuse(RequestTimeout(f"only {self._taken_bytes} bytes of the request arrived within the time limit"))

    def _unanswered(self) -> Iterator[Any]:
        yield from list(self.requests)
        if self.request is not None:
            yield self.request

    def _close_if(self, due: bool) -> None:
        """Close the connection at once if `due` is true.

        Waitress's `will_close` would first wait until the client reads, perhaps for ever.
        """
        if due:
            self.handle_close()

    def _linger(self) -> None:
        self.close_when_flushed = False
        self._lingers_since = time.monotonic()
        with suppress(OSError):  # it is closed already; the next read says so
            self.socket.shutdown(socket.SHUT_WR)
