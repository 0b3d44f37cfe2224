"""A function that serves, and stops so that nothing accepted is lost: waitress in this process.

waitress reads requests in one asynchronous loop and hands only whole ones to its threads, so a slow sender holds no
thread. It runs in one process: no fork after the session exists (a forked session loses its thread pool), nothing
loaded twice.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from types import FrameType

from flask import Flask

from eaves.errors import StartError
from functions.http.connection import HttpConnection
from functions.http.listener import ListenerLimits, TcpListener
from functions.metrics import EXTENSION
from functions.settings import FunctionSettings

SPARE_THREADS = 2
"""For work that is refused at once; the rest may all be waiting for their turn."""
DRAIN_S = 25.0
"""Longest wait for answers in flight after SIGTERM; Kubernetes kills 30 s after it by default."""
QUIET_ROUNDS = 2
"""Rounds of the loop with nothing in work that end the drain: a single one may end early, with bytes still unread."""
POLL_S = 1.0
"""Longest round of the loop."""
DRAIN_POLL_S = 0.05
STOP_THREADS_S = 1.0

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger("functions")


class Server:
    """One listening function.

    Args:
        app: Answers.
        settings: The function's settings.
        concurrency: Predictions at the same time.
        on_stop: Called once the process is asked to end, while it still answers.

    Raises:
        StartError: When it can't listen.
    """

    def __init__(
        self, app: Flask, settings: FunctionSettings, *, concurrency: int, on_stop: Callable[[], None] = lambda: None
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
        try:
            self._listener = TcpListener(app, limits, map={}, on_refusal=count, host=settings.host, port=settings.port)
        except (OSError, ValueError) as error:
            raise StartError(
                f"can't listen on {settings.host}:{settings.port}: {error}", hint="choose another --host or --port"
            ) from error
        self._stopping = threading.Event()

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return int(self._listener.effective_port)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then finish what was accepted."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # those that came while the server was made
        _log.info("listening on %s:%d", self._settings.host, self.port)  # from here on a signal finds its handler
        while not self._stopping.is_set():
            self._listener.poll(POLL_S)
        self._listener.draining = True
        self._on_stop()
        deadline = time.monotonic() + DRAIN_S
        # New connections are still taken meanwhile: a probe is told why this replica isn't ready any more.
        self._finish(self._listener.connections(), deadline)
        self._listener.stop_listening()
        self._finish(None, deadline)
        self._listener.stop_threads(STOP_THREADS_S)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()
        self._listener.pull_trigger()

    def _finish(self, connections: Iterable[HttpConnection] | None, deadline: float) -> None:
        """Answer what has arrived on these (None: on all), whole or still arriving; idle ones aren't waited for."""
        quiet = 0
        while quiet < QUIET_ROUNDS and time.monotonic() < deadline:
            self._listener.poll(DRAIN_POLL_S)
            waited_for = self._listener.connections() if connections is None else connections
            quiet = 0 if any(one.busy for one in waited_for) else quiet + 1


def _count_refusal(app: Flask, status: int, kind: str) -> None:
    """Count an answer that the application didn't make."""
    counted = app.extensions.get(EXTENSION)
    if counted is not None:
        counted.count("eaves_requests_total", kind="refused", status=str(status), problem=kind)
