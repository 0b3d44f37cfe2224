"""waitress, embedded once: a listening socket whose connections are bounded in time, number and memory.

A function listens with it, and the local platform does. What they do differently is in `ListenerLimits` and in the
arguments of the listener.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Flask
from waitress.adjustments import Adjustments
from waitress.server import BaseWSGIServer, TcpWSGIServer, UnixWSGIServer

from functions.http.connection import STALLED_S, HttpConnection, TooMuchAtOnce
from functions.http.thread_pool import ThreadPool

CONNECTIONS = 256
"""Most connections at the same time, where nothing else is said."""
HEADER_BYTES = 65_536
"""Largest request header; 431 above."""
SWEEP_S = 1.0
"""How often connections are looked through for what takes too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerLimits:
    """The bounds of a listener.

    Attributes:
        max_body_bytes: Largest request body; 413 above.
        max_buffered_bytes: Memory for all bodies that arrive or wait; 429 beyond it. One of the largest size always
            fits.
        read_timeout_s: Seconds that a sender may pause within a request; 408 after them.
        min_rate_bytes_s: Bytes a second that a sender must keep up on average, beyond its first `read_timeout_s`.
        threads: Requests that are in work at the same time, beside those of `probe_threads`.
        connections: Most connections at the same time. A new one closes the one that has been silent for longest, so
            that no number of slow senders locks a probe out.
        probe_threads: Threads for GET and for refusals, which must not wait behind work.
        read_bytes: Bytes that are read at once: the body of a photo in one or two rounds of the loop.
    """

    max_body_bytes: int
    max_buffered_bytes: int
    read_timeout_s: float
    min_rate_bytes_s: int
    threads: int
    connections: int = CONNECTIONS
    probe_threads: int = 2
    read_bytes: int = 65_536


class Listener(BaseWSGIServer):  # type: ignore[misc]
    """The listening socket, its connections, the threads behind them. Its loop turns only while `poll` is called.

    Args:
        app: Answers.
        limits: The bounds.
        map: File descriptors of the loop; `waitress.wasyncore.close_all` closes them.
        bound: A socket that is bound already; None binds `host` and `port`.
        connection: Makes a connection out of what waitress accepts.
        on_refusal: Called with status and type of an answer that the application didn't make.
        where: `host` and `port` to bind.

    Attributes:
        draining: Whether every connection's next answer is its last.

    Raises:
        OSError: When the address can't be listened on.
        ValueError: When `host` isn't known.
    """

    draining = False

    def __init__(
        self,
        app: Flask,
        limits: ListenerLimits,
        *,
        map: dict[int, Any],  # noqa: A002 - waitress's name
        bound: socket.socket | None = None,
        connection: Callable[..., HttpConnection] = HttpConnection,
        on_refusal: Callable[[int, str], None],
        **where: Any,
    ) -> None:
        self.channel_class = connection
        self.refused = on_refusal
        self._limits = limits
        self._threads = ThreadPool(limits.threads)
        self._probe_threads = ThreadPool(limits.probe_threads)
        self._room_bytes = max(limits.max_buffered_bytes, limits.max_body_bytes + 2 * limits.read_bytes)
        self._next_sweep = 0.0
        adjustments = Adjustments(
            **where,
            recv_bytes=limits.read_bytes,
            clear_untrusted_proxy_headers=False,  # nothing here believes any, and it wraps every request
            max_request_header_size=HEADER_BYTES,
            max_request_body_size=limits.max_body_bytes + 1,  # the first size that waitress refuses
            # In memory: a container's root file system is read-only, and sizes are bounded.
            inbuf_overflow=limits.max_body_bytes + 1,
            outbuf_overflow=limits.max_body_bytes + 1,
            ident=None,
        )
        given: dict[str, Any] = {}
        if bound is not None:
            info = (bound.family, bound.type, bound.proto, bound.getsockname())
            given = {"_sock": bound, "sockinfo": info, "bind_socket": False}
        super().__init__(app, map=map, dispatcher=self._threads, adj=adjustments, **given)

    def poll(self, timeout_s: float) -> None:
        """Do one round of the loop, and end what takes too long.

        Args:
            timeout_s: Longest wait for something to do, seconds.
        """
        self.asyncore.loop(timeout=timeout_s, map=self._map, use_poll=True, count=1)
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_S
            for connection in self.connections():
                connection.expire(
                    now, timeout_s=self._limits.read_timeout_s, min_rate_bytes_s=self._limits.min_rate_bytes_s
                )

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
        return bool(self.accepting and (len(self.active_channels) < self._limits.connections or self._quietest()))

    def handle_accept(self) -> None:
        """Accept one, in the place of the one silent for longest if there are too many."""
        if len(self.active_channels) >= self._limits.connections and (quietest := self._quietest()):
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

    def stop_threads(self, timeout_s: float) -> None:
        """End those that have nothing to do; others end with the process.

        Args:
            timeout_s: Longest wait for those that are at work, seconds.
        """
        deadline = time.monotonic() + timeout_s
        for threads in (self._threads, self._probe_threads):
            threads.shutdown(cancel_pending=True, timeout=max(0.0, deadline - time.monotonic()))

    def _quietest(self, *, silent_s: float = 0.0, holding: bool = False) -> HttpConnection | None:
        """The connection with nothing in work that has been silent for longest."""
        latest = time.monotonic() - silent_s
        fitting = [
            one for one in self.connections() if one.idle and one.heard <= latest and (one.held_bytes or not holding)
        ]
        return min(fitting, key=lambda one: one.heard, default=None)

    def maintenance(self, now: float) -> None:
        """Nothing: waitress's own time limits know neither rates nor a clock that jumps."""


class TcpListener(Listener, TcpWSGIServer):  # type: ignore[misc]
    """A listener on a TCP port."""


class UnixListener(Listener, UnixWSGIServer):  # type: ignore[misc]
    """A listener on a Unix socket."""
