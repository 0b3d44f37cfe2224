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
from waitress.server import create_server

from functions.settings import FunctionSettings

SPARE_THREADS = 4
"""For probes and refusals, which must not wait behind inference."""
DRAIN_S = 30.0
"""Longest wait for answers in flight after SIGTERM; Kubernetes kills at 30 s by default."""


class Server:
    """One listening function."""

    def __init__(self, app: Flask, settings: FunctionSettings, *, concurrency: int) -> None:
        self._map: dict[int, Any] = {}
        self._server = create_server(
            app,
            map=self._map,
            host=settings.host,
            port=settings.port,
            threads=concurrency + settings.queue + SPARE_THREADS,
            max_request_body_size=settings.max_body_bytes,
            channel_timeout=int(settings.read_timeout_s),
            # In memory: the root file system is read-only, and the size limit bounds it.
            inbuf_overflow=settings.max_body_bytes + 1,
            outbuf_overflow=settings.max_body_bytes + 1,
            ident=None,
        )
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
        self._server.del_channel()
        self._server.socket.close()
        deadline = time.monotonic() + DRAIN_S
        while self._busy() and time.monotonic() < deadline:
            self._poll()
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=1)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()

    def _poll(self) -> None:
        self._server.asyncore.loop(timeout=0.1, map=self._map, use_poll=True, count=1)

    def _busy(self) -> bool:
        """Whether any connection still has a request that is being read, answered or sent."""
        channels = self._server.active_channels.values()
        return any(channel.requests or channel.request or channel.total_outbufs_len for channel in channels)
