"""The HTTP server of a function: waitress in this process, which finishes all accepted requests before it stops.

Waitress reads requests in one asynchronous loop and passes only complete ones to its threads, so a slow sender blocks
no thread. There is only one process: a process that forks after the ONNX session exists would lose the session's thread
pool, and nothing is loaded twice.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from types import FrameType
from typing import Any

from functions.http.connection import HttpConnection
from functions.http.listener import ListenerLimits, TcpListener
from functions.http.listening_socket import STOP_SIGNALS
from functions.metrics import EXTENSION
from functions.settings import FunctionSettings

SPARE_THREADS = 2
"""Number of threads in addition to those for accepted requests. They answer requests that are refused at once, while
all other threads may be waiting for a permit."""
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
        stopping: Event that is set when the process is asked to end; it may be set before the server runs.
        on_stop: Function that is called when the process is asked to end, while it still answers requests.
    """

    def __init__(
        self,
        app: Any,
        settings: FunctionSettings,
        *,
        listening: socket.socket,
        concurrency: int,
        stopping: threading.Event,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._on_stop = on_stop
        limits = ListenerLimits(
            max_body_bytes=settings.max_body_bytes,
            max_buffered_bytes=settings.max_buffered_bytes,
            read_timeout_s=settings.read_timeout_s,
            min_rate_bytes_s=settings.min_rate_bytes_s,
            threads=concurrency + settings.queue + SPARE_THREADS,
        )
        count = partial(_count_refusal, app)
        self._listener = TcpListener(app, limits, map={}, bound=listening, on_refusal=count)
        self._stopping = stopping

    @property
    def port(self) -> int:
        """The TCP port that the server listens at."""
        return int(self._listener.effective_port)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then finish the accepted requests."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)
        _log.info("listening on %s:%d", self._settings.host, self.port)
        while not self._stopping.is_set():
            self._listener.poll(POLL_S)
        self._listener.draining = True
        self._on_stop()
        deadline = time.monotonic() + DRAIN_S
        # New connections are still accepted meanwhile, so that a probe gets the reason why this replica isn't ready.
        self._finish(self._listener.connections(), deadline)
        self._listener.stop_listening()
        self._finish(None, deadline)
        self._listener.stop_threads(STOP_THREADS_S)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()
        self._listener.pull_trigger()

    def _finish(self, connections: Iterable[HttpConnection] | None, deadline: float) -> None:
        """Answer all requests of the given connections, also those that still arrive; don't wait for idle connections.

        None stands for all connections.
        """
        quiet = 0
        while quiet < QUIET_ROUNDS and time.monotonic() < deadline:
            self._listener.poll(DRAIN_POLL_S)
            waited_for = self._listener.connections() if connections is None else connections
            quiet = 0 if any(one.busy for one in waited_for) else quiet + 1


def _count_refusal(app: Any, status: int, kind: str) -> None:
    """Count a response that the HTTP server sent without the application."""
    counted = app.extensions.get(EXTENSION)
    if counted is not None:
        counted.count("eaves_requests_total", kind="refused", status=str(status), problem=kind)
