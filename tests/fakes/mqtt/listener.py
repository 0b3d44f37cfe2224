"""Listener that records what a connection reported, in order."""

from collections.abc import Sequence

from eaves.plugins.mqtt.connection import BrokerConnection
from eaves.plugins.mqtt.message import ConnectionListener, Message, SessionInfo


class RecordingListener(ConnectionListener):
    """A listener that subscribes and remembers.

    Args:
        topics: What it subscribes to, at each connection.

    Attributes:
        connection: To be set before the connection is started.
        sessions: Connections that were accepted.
        reasons: Why there was none, without repetitions in a row.
        losses: Connections that were lost.
        refused: Filters that the broker refused.
        messages: What was received.
    """

    def __init__(self, topics: Sequence[str] = ()) -> None:
        self.connection: BrokerConnection | None = None
        self.sessions: list[SessionInfo] = []
        self.reasons: list[str] = []
        self.losses = 0
        self.refused: list[str] = []
        self.messages: list[Message] = []
        self.subscriptions = 0
        self._topics = topics

    def connected(self, session: SessionInfo) -> None:
        self.sessions.append(session)
        if self._topics and self.connection is not None:
            self.connection.subscribe(self._topics)

    def lost(self) -> None:
        self.losses += 1

    def unavailable(self, reason: str) -> None:
        if not self.reasons or self.reasons[-1] != reason:
            self.reasons.append(reason)

    def subscribed(self, refused: Sequence[str]) -> None:
        self.subscriptions += 1
        self.refused = list(refused)

    def received(self, message: Message) -> None:
        self.messages.append(message)
        if self.connection is not None:
            self.connection.acknowledge(message)
