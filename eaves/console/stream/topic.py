"""The streams with the same query, and the feed that makes their messages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from eaves.console.stream.client import StreamClient
from eaves.console.stream.encoding import RELOAD, encode
from eaves.console.stream.feed import Feed

FAILED_PAUSE_S = 2.0
"""Pause after a feed has failed, seconds."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSubscription:
    """What a client asks for.

    Attributes:
        key: Query of the stream; streams with equal keys share one feed.
        feed: Makes the messages; unused when an open stream has the same key.
        after: `Record.seq` of the newest record that the client's page shows.
        session: Id of the login session that the stream belongs to; empty without one.
        left_s: Time after which the session ends and the stream is closed, seconds; None without a session. A client
            whose session was renewed meanwhile connects again.
        is_allowed: Returns whether the credentials that have opened the stream still apply; asked again and again.
    """

    key: Hashable
    feed: Feed
    after: int
    session: str = ""
    left_s: float | None = None
    is_allowed: Callable[[], bool] = lambda: True


class StreamTopic:
    """The streams with the same query. Only the stream thread uses it.

    Args:
        key: Query of the streams.
        feed: Makes their messages.

    Attributes:
        key: Query of the streams.
        clients: Clients that have everything up to the topic's position.
        position: `Record.seq` up to which the clients have everything.
        joining: Clients that wait to be caught up, with the record that their page shows.
    """

    def __init__(self, key: Hashable, feed: Feed) -> None:
        self.key = key
        self.clients: set[StreamClient] = set()
        self.joining: dict[StreamClient, int] = {}
        self._feed = feed
        self.position = 0
        self._newest = 0
        self._due_at = 0.0
        self._has_failed = False

    def __bool__(self) -> bool:
        return bool(self.clients or self.joining)

    def poll(self, now: float, send: Callable[[StreamClient, bytes], None]) -> None:
        """Ask the feed for news, and send them to all clients; then catch up clients that are joining.

        Args:
            now: Time by the monotonic clock, seconds.
            send: Sends bytes to a client; a client that can't get them is discarded.
        """
        if now < self._due_at:
            return
        try:
            self._poll(send)
            self._catch_up(send)
        except Exception:  # noqa: BLE001 - the fault of one feed must not end other streams
            self._due_at = now + FAILED_PAUSE_S
            if not self._has_failed:
                _log.exception("the console's stream %s has no news because of an error", str(self.key)[:128])
            self._has_failed = True
        else:
            self._has_failed = False

    def position_of(self, client: StreamClient) -> int:
        """Return the record up to which a client has everything; 0 for one that isn't caught up yet."""
        return 0 if client in self.joining else self.position

    def discard(self, client: StreamClient) -> None:
        """Remove a client that is closed."""
        self.clients.discard(client)
        self.joining.pop(client, None)

    def _poll(self, send: Callable[[StreamClient, bytes], None]) -> None:
        newest = self._feed.newest()
        if newest < self.position:  # another history has replaced the file
            _send_all(self.clients, RELOAD, send)
            self.position = newest
        elif not self.clients:
            self.position = newest
        else:
            messages = self._feed.poll(self.position)
            self.position = max([message.id for message in messages if message.id], default=newest)
            if messages:
                _send_all(self.clients, b"".join(map(encode, messages)), send)
        self._newest = newest

    def _catch_up(self, send: Callable[[StreamClient, bytes], None]) -> None:
        """Add the clients that are joining, except those whose page shows records that the other clients don't."""
        for client, after in list(self.joining.items()):
            if self.position < after <= self._newest:
                continue
            messages = self._feed.catch_up(after, self.position) if after <= self.position else None
            data = RELOAD if messages is None else b"".join(map(encode, messages))
            del self.joining[client]
            self.clients.add(client)
            send(client, data)


def _send_all(clients: Iterable[StreamClient], data: bytes, send: Callable[[StreamClient, bytes], None]) -> None:
    for client in list(clients):
        send(client, data)
