"""The sockets: waitress in this process, stopped so that nothing accepted is lost.

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
from types import FrameType
from typing import Any

from flask import Flask
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from eaves.errors import StartError
from functions.http.connection import STALLED_S, HttpConnection, TooMuchAtOnce
from functions.http.thread_pool import ThreadPool
from functions.metrics import EXTENSION
from functions.settings import FunctionSettings

SPARE_THREADS = 2
"""For work that is refused at once; the rest may all be waiting for their turn."""
PROBE_THREADS = 2
"""For GET and for refusals, which must not wait behind work."""
CONNECTIONS = 256
"""Most at once; a new one closes the one that has been silent for longest, so that no number of slow senders locks a
probe out."""
HEADER_BYTES = 65_536
"""Largest request header; 431 above."""
READ_BYTES = 65_536
"""Read at once: the body of a photo in one or two rounds of the loop."""
DRAIN_S = 25.0
"""Longest wait for answers in flight after SIGTERM; Kubernetes kills 30 s after it by default."""
QUIET_ROUNDS = 2
"""Rounds of the loop with nothing in work that end the drain: a single one may end early, with bytes still unread."""
POLL_S = 1.0
"""Longest round of the loop, and how often connections are looked through for what takes too long."""
DRAIN_POLL_S = 0.05

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
        self._map: dict[int, Any] = {}
        try:
            self._listener = _Listener(app, settings, concurrency=concurrency, map=self._map)
        except (OSError, ValueError) as error:
            raise StartError(
                f"can't listen on {settings.host}:{settings.port}: {error}", hint="choose another --host or --port"
            ) from error
        self._stopping = threading.Event()
        self._next_sweep = 0.0

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
            self._poll(POLL_S)
        self._listener.draining = True
        self._on_stop()
        deadline = time.monotonic() + DRAIN_S
        # New connections are still taken meanwhile: a probe is told why this replica isn't ready any more.
        self._finish(self._listener.connections(), deadline)
        self._listener.stop_listening()
        self._finish(None, deadline)
        self._listener.stop_threads()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()
        self._listener.pull_trigger()

    def _poll(self, timeout_s: float) -> None:
        self._listener.asyncore.loop(timeout=timeout_s, map=self._map, use_poll=True, count=1)
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + POLL_S
            for connection in self._listener.connections():
                connection.expire(
                    now, timeout_s=self._settings.read_timeout_s, min_rate_bytes_s=self._settings.min_rate_bytes_s
                )

    def _finish(self, connections: Iterable[HttpConnection] | None, deadline: float) -> None:
        """Answer what has arrived on these (None: on all), whole or still arriving; idle ones aren't waited for."""
        quiet = 0
        while quiet < QUIET_ROUNDS and time.monotonic() < deadline:
            self._poll(DRAIN_POLL_S)
            waited_for = self._listener.connections() if connections is None else connections
            quiet = 0 if any(one.busy for one in waited_for) else quiet + 1


class _Listener(TcpWSGIServer):  # type: ignore[misc]
    """The listening socket, its connections, the threads behind them.

    Attributes:
        draining: Whether every connection's next answer is its last.
    """

    channel_class = HttpConnection
    draining = False

    def __init__(self, app: Flask, settings: FunctionSettings, *, concurrency: int, map: dict[int, Any]) -> None:  # noqa: A002
        self._threads = ThreadPool(concurrency + settings.queue + SPARE_THREADS)
        self._probe_threads = ThreadPool(PROBE_THREADS)
        # One body of the largest size always fits.
        self._room_bytes = max(settings.max_buffered_bytes, settings.max_body_bytes + 2 * READ_BYTES)
        adjustments = Adjustments(
            host=settings.host,
            port=settings.port,
            recv_bytes=READ_BYTES,
            clear_untrusted_proxy_headers=False,  # nothing here believes any, and it wraps every request
            max_request_header_size=HEADER_BYTES,
            max_request_body_size=settings.max_body_bytes + 1,  # the first size that waitress refuses
            # In memory: the root file system is read-only, and sizes are bounded.
            inbuf_overflow=settings.max_body_bytes + 1,
            outbuf_overflow=settings.max_body_bytes + 1,
            ident=None,
        )
        super().__init__(app, map=map, dispatcher=self._threads, adj=adjustments)

    def refused(self, status: int, kind: str) -> None:
        """Count an answer that the application didn't make."""
        counted = self.application.extensions.get(EXTENSION)
        if counted is not None:
            counted.count("eaves_requests_total", kind="refused", status=str(status), problem=kind)

    def connections(self) -> list[HttpConnection]:
        """Those that are open now."""
        return list(self.active_channels.values())

    def add_task(self, task: HttpConnection) -> None:
        """Hand a connection's next request to a thread."""
        request = task.requests[0]
        works = request.error is None and request.command not in {"GET", "HEAD"}
        (self._threads if works else self._probe_threads).add_task(task)

    def readable(self) -> bool:
        """Whether to accept one more."""
        return bool(self.accepting and (len(self.active_channels) < CONNECTIONS or self._quietest()))

    def handle_accept(self) -> None:
        """Accept one, in the place of the one silent for longest if there are too many."""
        if len(self.active_channels) >= CONNECTIONS and (quietest := self._quietest()):
            quietest.handle_close()
        super().handle_accept()

    def has_room(self, asking: HttpConnection) -> bool:
        """Whether there is memory for what a connection sends; what a stalled sender has sent is let go for it."""
        while sum(one.held_bytes for one in self.connections()) > self._room_bytes:
            stalled = self._quietest(silent_s=STALLED_S, holding=True)
            if stalled is None or stalled is asking:
                return False
            stalled.refuse(TooMuchAtOnce("others needed the memory that this request held while it stalled"))
        return True

    def stop_listening(self) -> None:
        """Take in the connections that the kernel has accepted for us, which closing the socket would reset."""
        before = -1
        while len(self._map) > before:
            before = len(self._map)
            self.handle_accept()
        self.del_channel()
        self.socket.close()

    def stop_threads(self) -> None:
        """End those that have nothing to do; others end with the process."""
        for threads in (self._threads, self._probe_threads):
            threads.shutdown(cancel_pending=True, timeout=1)

    def _quietest(self, *, silent_s: float = 0.0, holding: bool = False) -> HttpConnection | None:
        """The connection with nothing in work that has been silent for longest."""
        latest = time.monotonic() - silent_s
        fitting = [
            one for one in self.connections() if one.idle and one.heard <= latest and (one.held_bytes or not holding)
        ]
        return min(fitting, key=lambda one: one.heard, default=None)

    def maintenance(self, now: float) -> None:
        """Nothing: waitress's own time limits know neither rates nor a clock that jumps."""
