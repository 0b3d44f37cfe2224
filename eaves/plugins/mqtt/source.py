"""The mqtt source: one thread receives messages from the broker, another stores and acknowledges them."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

from paho.mqtt.client import topic_matches_sub

from eaves import media_type
from eaves.errors import InputError, SpoolError
from eaves.plugins.mqtt.connection import BrokerConnection
from eaves.plugins.mqtt.kind import MqttSourceSettings
from eaves.plugins.mqtt.message import (
    SHARED,
    ConnectionListener,
    ConnectionSettings,
    Message,
    SessionInfo,
    Version,
    parse_address,
)
from eaves.plugins.mqtt.payload import HeldMessage, Inbox, UnusableError, read_message
from eaves.sources.context import Frame, SourceContext
from eaves.sources.retry import capture_when_possible

ENVELOPE_BYTES = 65_536
"""Maximum size of a message's topic, properties and JSON text beside the image, bytes."""
INBOX_BYTES = 32_000_000
"""Memory for messages that were received and are not stored yet, bytes. It is more when two messages of the maximum
size need more."""
POLL_S = 1.0
"""Maximum time for which the source waits for a message before it checks whether it must stop, seconds."""

_log = logging.getLogger(__name__)


class MqttSource(ConnectionListener):
    """Captures images from the topics of a broker until the context says to stop.

    Args:
        settings: Settings with the topics.
        context: Interface to the agent.
    """

    def __init__(self, settings: MqttSourceSettings, context: SourceContext) -> None:
        self._settings = settings
        self._context = context
        largest = context.max_bytes * 4 // 3 + ENVELOPE_BYTES  # base64; its line breaks fit into the envelope's room
        self._inbox = Inbox(max(INBOX_BYTES, 2 * largest), clock=context.clock)
        self._missed = self._is_overflow_logged = False
        self._unavailable = "not connected yet"
        self._reporting = threading.Lock()
        self._connection = BrokerConnection(
            ConnectionSettings(
                address=parse_address(settings.url),
                # The agent's id keeps the sessions of apps and machines with equal names apart.
                client_id=settings.client_id or f"{context.source.strip('/').replace('/', '-')}-{context.agent_id}",
                credentials=context.credentials,
                version="5" if settings.id_property else cast(Version, settings.version),
                session_expiry_s=settings.session_expiry_s,
                receive_maximum=settings.in_flight,
                max_packet_bytes=largest,
                keepalive_s=settings.keepalive_s,
            ),
            self,
            clock=context.clock,
        )

    def run(self) -> None:
        """Store received messages until the context says to stop.

        Raises:
            RuntimeError: When the connection's thread has ended. The agent then restarts the source.
        """
        with self._context.on_stop(self._inbox.wake):
            self._connection.start()
            try:
                while not self._context.stopping:
                    if not self._connection.is_alive():
                        raise RuntimeError("the thread of the connection to the broker has ended")
                    held = self._inbox.peek(POLL_S)
                    if held is None:
                        self._request_missed()
                    elif not held.wanted:
                        self._leave_out(held.message)
                        self._finish(held)
                    elif self._store(held):
                        self._finish(held)
            finally:
                self._connection.stop()

    def connected(self, session: SessionInfo) -> None:
        """Subscribe to the topics on a new connection.

        It is done each time, because the broker may have lost the session, or the settings may name other topics.
        """
        if self._connection.connections > 1:
            self._context.reconnected()
            if not session.present:
                _log.warning(
                    "the broker of source %s has lost its session; messages that it kept for this source are lost",
                    self._context.name,
                )
        if not session.present:
            self._inbox.forget()
        self._missed = False
        self._connection.subscribe(self._settings.topics)

    def subscribed(self, refused: Sequence[str]) -> None:
        """Report whether the broker has accepted the subscription; `refused` has the refused topics."""
        self._report(f"the broker refuses the subscription to {', '.join(refused)}" if refused else "")

    def unavailable(self, reason: str) -> None:
        """Report why there is no connection."""
        self._report(reason)

    def received(self, message: Message) -> None:
        """Queue a message for the source's thread; without room, leave a message with QoS 1 to the broker.

        A message with QoS 0 is dropped then.
        """
        wanted = self._is_wanted(message)
        if not wanted and message.qos == 0:
            self._leave_out(message)
            return
        if self._missed and message.qos:
            return  # acknowledgements must be in the order of arrival
        if not wanted:
            message = replace(message, payload=b"")
        digest = hashlib.sha256(message.payload).digest()
        held = HeldMessage(message, digest, wanted)
        if self._inbox.put(held):
            return
        if message.qos:
            self._missed = True
            if not self._is_overflow_logged:
                self._is_overflow_logged = True
                text = (
                    "source %s: messages arrive faster than they can be stored; it connects again to receive the rest"
                )
                _log.warning(text, self._context.name)
            return
        self._context.drop("late")

    def _is_wanted(self, message: Message) -> bool:
        return matches(self._settings.topics, message.topic) and not message.retain

    def _leave_out(self, message: Message) -> None:
        """Count a message of a topic that the settings don't name; retained messages aren't counted."""
        if not matches(self._settings.topics, message.topic):
            reason = "a message has a topic outside `topics`; it comes from an earlier subscription, or from another "
            self._context.drop("topic", reason=reason + "client with the same client_id")

    def _request_missed(self) -> None:
        """Connect again when there was no room for some messages, so that the broker sends them again.

        While a connection is being made, nothing is done, because the new connection has the same effect.
        """
        if self._missed and self._connection.session is not None:
            self._connection.reconnect()

    def _finish(self, held: HeldMessage) -> None:
        message = self._inbox.remove(held)
        if self._connection.acknowledge(message):
            self._inbox.close(held)

    def _store(self, held: HeldMessage) -> bool:
        """Store the image of a message, or count why it is dropped; return False when the source must stop.

        While the queue is full, a message with QoS 1 is retried, and one with QoS 0 is dropped.
        """
        try:
            frame = self._build_frame(held)
        except UnusableError as error:
            self._context.drop(error.cause, reason=str(error))
            return True
        except Exception as error:  # noqa: BLE001 - a message that makes the code fail must not stop the others
            reason = f"a message was not captured because of an unexpected {type(error).__name__}"
            self._context.drop("failed", reason=reason, error=error)
            return True
        try:
            if held.message.qos:
                if capture_when_possible(self._context, frame) is None:
                    return False
            else:
                self._context.capture(frame)
        except InputError as error:
            self._context.drop("unreadable", reason=f"an image can't be made into an event ({str(error)[:200]})")
        except SpoolError:
            self._context.drop("spool_full")
        else:
            self._report()
        return True

    def _build_frame(self, held: HeldMessage) -> Frame:
        """Build the frame of a message's image.

        Raises:
            UnusableError: When the message contains no usable image.
        """
        message = held.message
        if message.is_cut:
            raise UnusableError("too_large", "a message is too large")
        found = read_message(message, self._settings)
        known = media_type.is_readable(found.data)
        if not known and not found.content_type:
            raise UnusableError("unsupported", "a message contains no image in a format that functions can read")
        digest = held.digest if found.data is message.payload else hashlib.sha256(found.data).digest()
        identity = f"id\0{found.position}" if found.position else f"arrival\0{held.number}"
        return replace(
            found,
            position=f"{message.topic}\0{digest.hex()}\0{identity}",
            subject=_build_subject(message.topic),
            camera=self._find_camera(message.topic) or found.camera,
            content_type="" if known else found.content_type,
        )

    def _find_camera(self, topic: str) -> str:
        levels, wanted = topic.split("/"), self._settings.camera_level
        if wanted == 0 or abs(wanted) > len(levels):
            return ""
        return _build_subject(levels[wanted - 1 if wanted > 0 else wanted])

    def _report(self, unavailable: str | None = None) -> None:
        """Report the source's state, after noting why the broker is unavailable; empty when it is there.

        The thread of the connection and that of the source report, and the last report must say what is so.
        """
        with self._reporting:
            if unavailable is not None:
                self._unavailable = unavailable
            self._context.report("waiting" if self._unavailable else "watching", self._unavailable)


def matches(filters: Iterable[str], topic: str) -> bool:
    """Return whether one of the filters matches the topic; `$share/GROUP/` before a filter is ignored."""
    return any(topic_matches_sub(one.split("/", 2)[2] if one.startswith(SHARED) else one, topic) for one in filters)


def _build_subject(topic: str) -> str:
    """Return a topic as the subject of an event, without control characters and with at most 4,096 bytes."""
    text = "".join(char if char.isprintable() else "\ufffd" for char in topic)
    return text.encode(errors="replace")[:4096].decode(errors="ignore")
