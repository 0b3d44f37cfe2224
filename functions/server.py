"""The HTTP server of a function: waitress in this process, which finishes all accepted requests before it stops.

Waitress reads requests in one asynchronous loop and passes only complete ones to its threads, so a slow sender blocks
no thread. There is only one process: a process that forks after the ONNX session exists would lose the session's thread
pool, and nothing is loaded twice.
"""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.task import ErrorTask, WSGITask

from functions.settings import FunctionSettings
from functions.start import ShutdownRequest

SPARE_THREADS = 4
"""Number of threads in addition to those for accepted requests. They answer probes, and requests that are refused at
once, while all other threads may be waiting for a permit."""
CONNECTIONS = 512
"""Maximum number of concurrent connections; further ones wait in the kernel."""
IDLE_S = 120
"""Seconds without a byte after which a connection is closed. Go's clients (Knative's proxies) close idle connections
after 90 s: the sender should close first, because it knows whether it is about to send. Source: net/http,
DefaultTransport.IdleConnTimeout."""
STALLED_S = 2.0
"""Seconds without a byte after which a stopping process doesn't wait for the rest of a request."""
HEADER_BYTES = 65_536
"""Maximum size of a request's header, bytes; a request with a larger header gets 431."""
LONG_BLANKS = re.compile(rb"[ \t]{256}")
"""Blanks that waitress's pattern for a header would search for a minute, in the loop of all connections."""
READ_BYTES = 65_536
"""Maximum bytes of one read; a photo arrives in one or two reads."""
DRAIN_S = 25.0
"""Maximum seconds to finish responses after SIGTERM; by default Kubernetes kills the process 30 s after SIGTERM."""
QUIET_ROUNDS = 2
"""Number of consecutive rounds of the event loop without work after which all requests count as finished. One round is
not enough, since bytes may be unread at its end."""
POLL_S = 1.0
"""Maximum seconds of one round of the event loop."""
DRAIN_POLL_S = 0.05
STOP_THREADS_S = 1.0

_log = logging.getLogger("functions")


class Server:
    """The HTTP server of one function.

    Args:
        app: WSGI application.
        settings: The function's settings.
        listening: The socket that listens at the function's address, see `open_listening_socket`.
        concurrency: Maximum number of concurrent predictions.
        stopping: Whether the process is asked to end; it may be before the server runs.
        on_stop: Function that is called when the process is asked to end, while it still answers requests.
    """

    def __init__(
        self,
        app: Any,
        settings: FunctionSettings,
        *,
        listening: socket.socket,
        concurrency: int,
        stopping: ShutdownRequest,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a full queue is answered, and counted
        self._on_stop = on_stop
        self._stopping = stopping
        self._map: dict[int, Any] = {}
        self._max_threads = concurrency + settings.queue + SPARE_THREADS
        self._threads = 1
        largest = settings.max_body_bytes + 1  # the smallest size that waitress refuses
        self._server = create_server(
            app,
            map=self._map,
            sockets=[listening],
            threads=1,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_S,
            recv_bytes=READ_BYTES,
            clear_untrusted_proxy_headers=False,  # no code here trusts them, and it wraps every request
            max_request_header_size=HEADER_BYTES,
            max_request_body_size=largest,
            # Kept in memory: a container's root file system is read-only, and sizes are limited.
            inbuf_overflow=largest,
            outbuf_overflow=largest,
            ident=None,
        )
        self._server.channel_class = FunctionConnection
        self._server.draining = False

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then finish the accepted requests."""
        self._stopping.wake = self._server.pull_trigger
        _log.info("listening on %s:%s", self._server.effective_host, self._server.effective_port)
        while not self._stopping.asked:
            self._poll(POLL_S)
        self._server.draining = True
        self._on_stop()
        deadline = time.monotonic() + DRAIN_S
        # New connections are still accepted meanwhile, so that a probe gets the reason why this replica isn't ready.
        self._finish(list(self._server.active_channels.values()), deadline)
        self._stop_listening()
        self._finish(None, deadline)
        self._server.task_dispatcher.shutdown(timeout=STOP_THREADS_S)

    def _poll(self, timeout_s: float) -> None:
        """Run one round of the event loop, and start threads up to the number of connections.

        Most processes are idle, and each thread costs time at the start and memory.
        """
        wasyncore.loop(timeout=timeout_s, use_poll=True, map=self._map, count=1)
        wanted = min(self._max_threads, len(self._server.active_channels))
        if wanted > self._threads:
            self._threads = wanted
            self._server.task_dispatcher.set_thread_count(wanted)

    def _finish(self, connections: Iterable[FunctionConnection] | None, deadline: float) -> None:
        """Answer all requests of the given connections, also those that still arrive; don't wait for idle connections.

        None stands for all connections.
        """
        quiet = 0
        while quiet < QUIET_ROUNDS and time.monotonic() < deadline:
            self._poll(DRAIN_POLL_S)
            waited_for = list(self._server.active_channels.values()) if connections is None else connections
            quiet = 0 if any(one.busy for one in waited_for) else quiet + 1

    def _stop_listening(self) -> None:
        """Stop listening, after accepting the connections that the kernel holds: closing would reset them."""
        before = -1
        while len(self._map) > before:
            before = len(self._map)
            self._server.handle_accept()
        self._server.del_channel()
        self._server.socket.close()


class FunctionParser(HTTPRequestParser):  # type: ignore[misc]
    """Parser of requests that refuses with 400 what waitress fails at, answers with 501, or takes though ambiguous."""

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the header of a request.

        Raises:
            ParsingError: When it is malformed.
        """
        if LONG_BLANKS.search(header_plus):
            raise ParsingError("a header has too many blanks")
        try:
            super().parse_header(header_plus)
        except (ValueError, TransferEncodingNotImplemented) as error:
            raise ParsingError("the head of the request is malformed, or has another coding than chunked") from error
        if self.version not in {"1.0", "1.1"}:
            raise ParsingError("the request is not HTTP/1.1 or 1.0")
        names = header_plus.lower()
        if b"\ntransfer-encoding:" in names and (self.version == "1.0" or b"\ncontent-length:" in names):
            raise ParsingError("the request has Transfer-Encoding and Content-Length, or is HTTP/1.0 with the former")


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
    """Writer of the response to a request that was refused before the application got it, as a problem document."""

    def execute(self) -> None:
        """Write the problem document, then close the connection."""
        error = self.request.error
        path = getattr(self.request, "path", "")  # a request whose headers didn't end has none
        response = self.channel.server.application.refuse(error.code, str(error.body), path)
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [item for item in response.headers.items() if item[0] != "Content-Length"]
        self.set_close_on_finish()
        self.channel.refused = True
        body = response.get_data()
        self.content_length = len(body)
        self.write(body)


class FunctionConnection(HTTPChannel):  # type: ignore[misc]
    """One HTTP connection.

    Attributes:
        refused: Whether a request was refused, so that the connection is closed while its sender may still be sending.
    """

    parser_class = FunctionParser
    task_class = ApplicationResponse
    error_task_class = RefusedRequest
    refused = False
    _lingers = False

    @property
    def busy(self) -> bool:
        """Whether the application has a request, or bytes arrive or leave. Stalled connections don't count as busy."""
        moving = time.time() - self.last_activity < STALLED_S
        return bool(self.requests or (moving and (self.total_outbufs_len or self.request is not None)))

    def received(self, data: bytes) -> bool:
        """Process received bytes; those after a refusal are discarded."""
        return True if self._lingers else bool(super().received(data))

    def send_continue(self) -> None:
        """Send `100 Continue`, unless the request is already complete or refused: waitress would then read on."""
        if not self.request.completed:
            super().send_continue()

    def handle_close(self) -> None:
        """Close the connection.

        After a refusal, wait until the sender has read the response or is silent: if the connection were closed at
        once, it would be reset, and the sender would take that for an outage and retry. Source: RFC 9112, section 9.6.
        """
        if self.refused and self.connected and not self._lingers:
            self._lingers, self.will_close = True, False
            with suppress(OSError):  # it is closed already; the next read says so
                self.socket.shutdown(socket.SHUT_WR)
            return
        super().handle_close()
