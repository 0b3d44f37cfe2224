"""The sockets: waitress in this process, stopped so that nothing accepted is lost.

waitress reads requests in one asynchronous loop and hands only whole ones to its threads, so a slow sender holds no
thread. It runs in one process: no fork after the session exists (a forked session loses its thread pool), nothing
loaded twice.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask, WSGITask

from eaves.errors import StartError
from functions import problems
from functions.parser import Parser
from functions.settings import FunctionSettings

SPARE_THREADS = 4
"""For probes and refusals, which must not wait behind inference."""
DRAIN_S = 25.0
"""Longest wait for answers in flight after SIGTERM; Kubernetes kills 30 s after it by default."""
PAUSE_S = 2.0
"""Longest pause of a sender within a request while draining; one that has stalled must not hold the process."""
QUIET_ROUNDS = 2
"""Rounds of the loop with nothing in work that end the drain: a single one may end early, with bytes still unread."""
POLL_S = 0.1


class Server:
    """One listening function.

    Raises:
        StartError: When it can't listen.
    """

    def __init__(self, app: Flask, settings: FunctionSettings, *, concurrency: int) -> None:
        self._map: dict[int, Any] = {}
        try:
            self._server = create_server(
                app,
                map=self._map,
                host=settings.host,
                port=settings.port,
                threads=concurrency + settings.queue + SPARE_THREADS,
                max_request_body_size=settings.max_body_bytes + 1,  # the first size that waitress refuses
                channel_timeout=int(settings.read_timeout_s),
                # In memory: the root file system is read-only, and the size limit bounds it.
                inbuf_overflow=settings.max_body_bytes + 1,
                outbuf_overflow=settings.max_body_bytes + 1,
                ident=None,
            )
        except (OSError, ValueError) as error:
            raise StartError(
                f"can't listen on {settings.host}:{settings.port}: {error}", hint="choose another --host or --port"
            ) from error
        self._server.channel_class = _Channel
        self._stopping = threading.Event()

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return int(self._server.effective_port)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then finish what was accepted."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._stopping.is_set():
            self._poll()
        self._stop_listening()
        self._drain()
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=1)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()
        self._server.pull_trigger()

    def _poll(self) -> None:
        self._server.asyncore.loop(timeout=POLL_S, map=self._map, use_poll=True, count=1)

    def _stop_listening(self) -> None:
        """Take in the connections that the kernel has accepted for us, which closing the socket would reset."""
        before = -1
        while len(self._map) > before:
            before = len(self._map)
            self._server.handle_accept()
        for channel in list(self._server.active_channels.values()):
            channel.last = True
        self._server.del_channel()
        self._server.socket.close()

    def _drain(self) -> None:
        """Answer what has arrived, whole or still arriving; idle connections are not waited for."""
        deadline, quiet = time.monotonic() + DRAIN_S, 0
        while quiet < QUIET_ROUNDS and time.monotonic() < deadline:
            self._poll()
            quiet = 0 if self._busy() else quiet + 1

    def _busy(self) -> bool:
        return any(channel.busy for channel in self._server.active_channels.values())


class _Answer(WSGITask):  # type: ignore[misc]
    """The application's answer."""

    def build_response_header(self) -> bytes:
        """Once the process stops, close the connection, so that its sender goes elsewhere with the next request."""
        if self.channel.last:
            self.request.headers["CONNECTION"] = "close"
        header: bytes = super().build_response_header()
        return header


class _Refusal(ErrorTask):  # type: ignore[misc]
    """waitress's own refusals (400, 413, 431, 501), as problem documents like all others."""

    def execute(self) -> None:
        """Answer and close the connection."""
        error = self.request.error
        response = problems.answer_refusal(error.code, str(error.body))
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", response.content_type))
        self.set_close_on_finish()
        body = response.get_data()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]
    """One connection.

    Attributes:
        last: Whether its next answer is its last.
    """

    parser_class = Parser
    task_class = _Answer
    error_task_class = _Refusal
    last = False

    @property
    def busy(self) -> bool:
        """Whether a request is being answered or sent, or read from a sender that hasn't stalled."""
        reading = self.request is not None and time.time() - self.last_activity < PAUSE_S
        return bool(self.requests or self.total_outbufs_len or reading)
