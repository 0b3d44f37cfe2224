"""The thread that owns the sockets of all open streams."""

from __future__ import annotations

import contextlib
import logging
import math
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable

from eaves.console.stream.client import ClosedError, StreamClient
from eaves.console.stream.encoding import CLOSING, CROWDED, EXPIRED, OPENED, encode_heartbeat
from eaves.console.stream.topic import StreamSubscription, StreamTopic

POLL_S = 0.25
"""Interval at which feeds are asked for news while a stream is open, seconds."""
HEARTBEAT_S = 15.0
"""Time without a message after which a comment is sent, seconds; half of the shortest usual time limit of proxies."""
CHECK_S = 2.0
"""Interval at which it is checked whether the credentials that have opened each stream still apply, seconds."""
STOP_S = 1.0
"""Time that clients have to accept the last messages when the server stops, seconds."""
CROWD = 2
"""Maximum number of connections, as a multiple of the maximum number of streams: those beyond it are streams that end
at once, and even more are closed unanswered."""

_log = logging.getLogger(__name__)


class StreamServer:
    """Serves all open streams in one thread, which does nothing while no stream is open. Safe to use from many threads.

    Args:
        max_streams: Maximum number of open streams. A stream beyond it gets the present news and ends, and its client
            asks again after `encoding.POLL_MS`.
        poll_s: Interval at which feeds are asked for news, seconds.
        heartbeat_s: Time without a message after which a comment is sent, seconds.
    """

    def __init__(self, *, max_streams: int = 100, poll_s: float = POLL_S, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._max_streams = max_streams
        self._poll_s = poll_s
        self._heartbeat_s = heartbeat_s
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._clients: dict[StreamClient, StreamTopic] = {}
        self._topics: dict[Hashable, StreamTopic] = {}
        self._commands: deque[Callable[[], None]] = deque()
        self._next_poll = self._next_check = 0.0
        self._used_at = time.monotonic()
        self._lock = threading.Lock()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="console-streams", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def idle_s(self) -> float:
        """Time since the last stream ended, seconds; 0 while one is open."""
        return 0.0 if self._clients or self._commands else time.monotonic() - self._used_at

    def open(self, connection: socket.socket, head: bytes, wanted: StreamSubscription) -> None:
        """Take over a connection and stream to it.

        Args:
            connection: Socket; it is owned by the server from now on.
            head: Head of the response, which is sent first.
            wanted: What the client asks for.
        """
        self._order(lambda: self._open(connection, head, wanted), otherwise=connection.close)

    def close(self, session: str) -> None:
        """End all streams of a login session."""
        self._order(lambda: self._expire([one for one in self._clients if one.session == session]))

    def stop(self) -> None:
        """End all streams and the thread. Streams that are opened later are closed at once."""
        with self._lock:
            self._is_stopped = True
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")
        self._thread.join()

    def _order(self, command: Callable[[], None], otherwise: Callable[[], None] = lambda: None) -> None:
        """Let the thread run a command, or run `otherwise` when the server has stopped."""
        with self._lock:
            if self._is_stopped:
                otherwise()
                return
            self._commands.append(command)
        with contextlib.suppress(OSError):  # a full pipe wakes the thread as well
            self._wake.send(b"\0")

    def _run(self) -> None:
        while not self._is_stopped:
            wait_s = max(0.0, self._next_poll - time.monotonic()) if self._clients else None
            for key, _ in self._selector.select(wait_s):
                if key.data is None:
                    self._read_wake()
                else:
                    self._attempt(key.data, key.data.progress)
            self._do_commands()
            if self._clients and time.monotonic() >= self._next_poll:
                self._poll()
                self._next_poll = time.monotonic() + self._poll_s
        self._end()

    def _read_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4_096):
                pass

    def _do_commands(self) -> None:
        while self._commands:
            try:
                self._commands.popleft()()
            except Exception:  # noqa: BLE001 - one stream must not end the others
                _log.exception("a stream of the console could not be opened or closed")

    def _open(self, connection: socket.socket, head: bytes, wanted: StreamSubscription) -> None:
        if len(self._clients) >= CROWD * self._max_streams:
            connection.close()
            return
        now = time.monotonic()
        ends_at = math.inf if wanted.left_s is None else now + wanted.left_s
        client = StreamClient(
            connection, session=wanted.session, sent_at=now, ends_at=ends_at, is_allowed=wanted.is_allowed
        )
        topic = self._topics.setdefault(wanted.key, StreamTopic(wanted.key, wanted.feed))
        is_crowded = len(self._clients) >= self._max_streams
        self._clients[client] = topic
        topic.joining[client] = wanted.after
        self._selector.register(connection, selectors.EVENT_READ, client)
        self._send(client, head + (CROWDED if is_crowded else OPENED))
        topic.poll(now, self._send)
        if is_crowded:
            client.ends = True
            self._attempt(client, client.progress)

    def _poll(self) -> None:
        now = time.monotonic()
        for topic in list(self._topics.values()):
            topic.poll(now, self._send)
        for client in [one for one in self._clients if one.ends_at <= now]:
            self._discard(client)
        if now >= self._next_check:
            self._next_check = now + CHECK_S
            self._expire([one for one in self._clients if not one.is_allowed()])
        silent = [one for one in self._clients if now - one.sent_at >= self._heartbeat_s]
        for client in silent:
            self._send(client, encode_heartbeat(self._clients[client].position_of(client)))

    def _expire(self, clients: Iterable[StreamClient]) -> None:
        for client in clients:
            client.ends = True
            self._send(client, EXPIRED)

    def _send(self, client: StreamClient, data: bytes) -> None:
        self._attempt(client, lambda: client.send(data, time.monotonic()))

    def _attempt(self, client: StreamClient, action: Callable[[], None]) -> None:
        """Do something with a client, and discard it when its stream has ended."""
        if client not in self._clients:
            return
        try:
            action()
            self._selector.modify(client.connection, client.awaits, client)
        except ClosedError as error:
            _log.debug("a stream has ended: %s", error)
            self._discard(client)

    def _discard(self, client: StreamClient) -> None:
        topic = self._clients.pop(client)
        topic.discard(client)
        if not topic and self._topics.get(topic.key) is topic:
            del self._topics[topic.key]
        self._selector.unregister(client.connection)
        client.close()
        self._used_at = time.monotonic()

    def _end(self) -> None:
        """Inform the clients, give them a moment to accept that, and close everything."""
        self._do_commands()
        for client in list(self._clients):
            client.ends = True
            self._send(client, CLOSING)
        deadline = time.monotonic() + STOP_S
        while self._clients and (left_s := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left_s):
                if key.data is not None:
                    self._attempt(key.data, key.data.progress)
                else:
                    self._read_wake()
        for client in list(self._clients):
            self._discard(client)
        self._selector.close()
        self._wake.close()
        self._woken.close()
