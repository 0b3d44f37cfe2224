"""A listening socket of waitress, with limits on the number, the waiting times and the memory of its connections.

Functions and the local platform both use it; they pass different `ListenerLimits` and arguments.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import BaseWSGIServer, TcpWSGIServer, UnixWSGIServer

from functions.http.connection import STALLED_S, HttpConnection, TooMuchAtOnce
from functions.http.thread_pool import ThreadPool

CONNECTIONS = 256
"""Default maximum number of concurrent connections."""
HEADER_BYTES = 65_536
"""Maximum size of a request's header, bytes; a request with a larger header gets 431."""
SWEEP_S = 1.0
"""Seconds between two checks of all connections for requests that take too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerLimits:
    """The limits of a listening socket and its connections.

    Attributes:
        max_body_bytes: Maximum bytes of a request's body; a larger body gets 413.
        max_buffered_bytes: Maximum bytes of all bodies that arrive or wait; further requests get 429. One body of the
            maximum size always fits.
        read_timeout_s: Seconds that a sender may pause within a request before it gets 408.
        min_rate_bytes_s: Bytes per second that a sender must average after its first `read_timeout_s`.
        threads: Number of concurrent requests, in addition to those of `probe_threads`.
        connections: Maximum number of concurrent connections. When another one is accepted, the connection that has
            been silent longest is closed, so that slow senders can't lock out a readiness probe.
        probe_threads: Threads for GET requests and refusals, which must not wait behind other requests.
        read_bytes: Maximum bytes of one read; a photo arrives in one or two reads.
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
    """The listening socket, its connections and their threads. Its event loop runs only while `poll` is called.

    Args:
        app: WSGI application.
        limits: Limits of the listener.
        map: File descriptors of the event loop; `waitress.wasyncore.close_all` closes them.
        bound: A socket that is bound already; None: bind `host` and `port`.
        connection: Function that makes an `HttpConnection` from a socket that waitress accepted.
        on_refusal: Function that gets status and problem type of a response that the application didn't make.
        where: `host` and `port` to bind when there is no `bound` socket.

    Attributes:
        draining: Whether each connection is closed after its next response, because the process is ending.

    Raises:
        OSError: When the address can't be listened on.
        ValueError: When `host` can't be resolved.
    """

    draining = False

    def __init__(
        self,
        app: Any,
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
            clear_untrusted_proxy_headers=False,  # no code here trusts them, and it wraps every request
            max_request_header_size=HEADER_BYTES,
            max_request_body_size=limits.max_body_bytes + 1,  # the smallest size that waitress refuses
            # Kept in memory: a container's root file system is read-only, and sizes are limited.
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
        """Run one round of the event loop, and end requests that take too long.

        Args:
            timeout_s: Maximum seconds to wait until a socket can be read or written.
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
        """Return the open connections."""
        return list(self.active_channels.values())

    def add_task(self, task: HttpConnection) -> None:
        """Pass the next request of a connection to a thread."""
        request = task.requests[0]
        works = request.error is None and request.command not in {"GET", "HEAD"}
        (self._threads if works else self._probe_threads).add_task(task)

    def readable(self) -> bool:
        """Return whether another connection can be accepted; waitress calls this in each round of its loop."""
        return bool(self.accepting and (len(self.active_channels) < self._limits.connections or self._quietest()))

    def handle_accept(self) -> None:
        """Accept a connection; when there are too many, first close the one that has been silent longest."""
        if len(self.active_channels) >= self._limits.connections and (quietest := self._quietest()):
            quietest.handle_close()
        super().handle_accept()

    def has_room(self, asking: HttpConnection) -> bool:
        """Return whether the bytes of all connections fit into memory.

        Requests of stalled senders are refused to make room.
        """
        while sum(one.held_bytes for one in self.connections()) > self._room_bytes:
            stalled = self._quietest(silent_s=STALLED_S, holding=True)
            if stalled is None or stalled is asking:
                return False
            stalled.refuse(TooMuchAtOnce("the request stalled while other requests needed its memory"))
        return True

    def stop_listening(self) -> None:
        """Stop listening, after accepting the connections that the kernel holds.

        Closing the socket would reset them.
        """
        before = -1
        while len(self._map) > before:
            before = len(self._map)
            self.handle_accept()
        self.del_channel()
        self.socket.close()

    def stop_threads(self, timeout_s: float) -> None:
        """End the threads that are idle or become idle in time; threads that stay busy end with the process.

        Args:
            timeout_s: Maximum seconds to wait for busy threads.
        """
        deadline = time.monotonic() + timeout_s
        for threads in (self._threads, self._probe_threads):
            threads.shutdown(cancel_pending=True, timeout=max(0.0, deadline - time.monotonic()))

    def _quietest(self, *, silent_s: float = 0.0, holding: bool = False) -> HttpConnection | None:
        """Return the longest silent connection among those without a request in progress; None without one."""
        latest = time.monotonic() - silent_s
        fitting = [
            one for one in self.connections() if one.idle and one.heard <= latest and (one.held_bytes or not holding)
        ]
        return min(fitting, key=lambda one: one.heard, default=None)

    def maintenance(self, now: float) -> None:
        """Do nothing, so that waitress's own time limits don't apply.

        Those limits include no minimum rate, and become wrong when the machine's clock is set.
        """


class TcpListener(Listener, TcpWSGIServer):  # type: ignore[misc]
    """A listener at a TCP port."""


class UnixListener(Listener, UnixWSGIServer):  # type: ignore[misc]
    """A listener at a Unix socket."""
