"""Connection to an MQTT broker that is made again whenever it ends, for as long as the process lives."""

from __future__ import annotations

import contextvars
import logging
import random
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

from paho.mqtt.enums import MQTTProtocolVersion

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock, StopFlag
from eaves.mqtt.message import Acknowledgement, Message, Publication
from eaves.mqtt.publications import fail
from eaves.mqtt.session import BrokerSession, End, SessionInfo
from eaves.mqtt.settings import ConnectionSettings

BACKOFF = Backoff(retry=None, first_s=0.5, cap_s=30.0)
STEADY_S = 2.0
"""Minimum duration of a connection, seconds, for the pause before the next one to be the shortest again. Two clients
with the same client id disconnect each other; because of this minimum they do so every few seconds and not
continuously."""
UNANSWERED = 3
"""Number of connections in a row that a broker closes without an answer before the other MQTT version is tried."""
JOIN_S = 2.0
STUCK_S = 300.0
"""Time after which the connection's thread counts as hung when it has neither run its network loop nor tried to
connect, seconds. A DNS
lookup, connecting and the pause before the next attempt take a minute and a half together at most."""

_log = logging.getLogger(__name__)


class ConnectionListener:
    """Interface of an object whose methods a `BrokerConnection` calls when something happens on the connection.

    The methods are called on the connection's thread and must not wait, because that thread answers the broker's
    keepalive.

    An exception is a bug: it is logged with its traceback and ends the connection, which is made again.
    """

    def connected(self, session: SessionInfo) -> None:
        """Handle a connection that the broker has accepted."""

    def lost(self) -> None:
        """Handle the end of a connection for which the broker gave no reason; it is made again after a short pause."""

    def unavailable(self, reason: str) -> None:
        """Handle a failed attempt to connect, or the end of a connection for which the broker gave a reason.

        `reason` is a sentence without credentials.
        """

    def subscribed(self, refused: Sequence[str]) -> None:
        """Handle the broker's answer to a subscription.

        `refused` has the filters that it doesn't allow, with the reason.
        """

    def received(self, message: Message) -> None:
        """Handle a message."""


class BrokerConnection:
    """Connection to one broker, made again after growing pauses whenever it ends.

    Args:
        settings: Settings of the connection.
        listener: Callbacks.
        clock: Wall clock and monotonic clock.
        stuck_s: Time without a sign of life after which the connection's thread counts as hung, seconds. It is real
            time, whatever `clock` says, because the operations that the thread waits for take real time.

    Attributes:
        connections: Number of connections that a broker has accepted since the start.
        reason: Why there is no connection; empty while there is one, and before the first attempt has failed.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        listener: ConnectionListener,
        *,
        clock: Clock = SYSTEM,
        stuck_s: float = STUCK_S,
    ) -> None:
        self.connections = 0
        self.reason = ""
        self._settings = settings
        self._listener = listener
        self._clock = clock
        self._stuck_s = stuck_s
        self._turned_at = SYSTEM.monotonic()
        self._stopping = StopFlag(clock)
        self._session: BrokerSession | None = None
        self._attempts = 0
        self._unanswered = 0
        self._protocol = MQTTProtocolVersion.MQTTv311 if settings.version == "3.1.1" else MQTTProtocolVersion.MQTTv5
        self._logged: set[str] = set()
        # The thread has the caller's context, so its log records have the caller's fields.
        run = partial(contextvars.copy_context().run, self._run)
        self._thread = threading.Thread(target=run, name=f"mqtt-{settings.client_id}", daemon=True)

    @property
    def session(self) -> SessionInfo | None:
        """Current connection as the broker has accepted it; None without a connection."""
        session = self._session
        return session.info if session else None

    def start(self) -> None:
        """Start the thread that connects and stays connected."""
        self._turn()
        self._thread.start()

    def stop(self) -> None:
        """End the connection and make no other; waits at most 2 s."""
        self._stopping.set()
        self.reconnect()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)

    def is_alive(self) -> bool:
        """Return whether the connection's thread runs and shows signs of life."""
        return self._thread.is_alive() and SYSTEM.monotonic() - self._turned_at < self._stuck_s

    def reconnect(self) -> None:
        """End the connection and make another, so that the broker sends all unacknowledged messages again."""
        session = self._session
        if session is not None:
            session.close()

    def subscribe(self, filters: Sequence[str], *, retained: bool = False) -> None:
        """Subscribe with QoS 1.

        Called in `ConnectionListener.connected`, because a subscription may be lost with its session.

        Args:
            filters: Topic filters, with wildcards allowed.
            retained: Whether the broker sends the messages that it has retained from before a new subscription.
        """
        session = self._session
        if session is not None:
            session.subscribe(filters, retained=retained)

    def acknowledge(self, message: Message) -> bool:
        """Acknowledge a message that is stored, in the order of arrival.

        Returns:
            Whether the acknowledgement will be sent. False means that the message's connection has ended; the broker
            sends it again unless it has lost the session.
        """
        session = self._session
        return session is not None and session.acknowledge(message)

    def publish(self, publication: Publication) -> Future[Acknowledgement]:
        """Send a message with QoS 1. May be called from any thread.

        Returns:
            The broker's answer. It fails with UnreachableError when there is no connection, or when the connection ends
            before the broker has answered; the message may have arrived then. It fails with DeliveryError when no more
            messages may wait for an answer.
        """
        session = self._session
        if session is not None:
            return session.publish(publication)
        future: Future[Acknowledgement] = Future()
        fail(future)
        return future

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = self._clock.monotonic()
            accepted_before = self.connections
            end = self._attempt()
            if self._stopping.is_set():
                return
            accepted = self.connections > accepted_before
            if self._choose_protocol(end, accepted=accepted):
                continue
            steady = accepted and self._clock.monotonic() - began >= STEADY_S
            failures = 1 if steady or end.wanted else failures + 1
            if not end.wanted:
                try:
                    self._report_end(end, accepted=accepted, failures=failures)
                except Exception as error:  # noqa: BLE001 - the thread continues, whatever a listener raises
                    self._log_once(error)
            self._stopping.wait(BACKOFF.pause_s(failures, jitter=random.random()))  # noqa: S311

    def _turn(self) -> None:
        self._turned_at = SYSTEM.monotonic()

    def _attempt(self) -> End:
        self._turn()
        self._attempts += 1
        self._session = session = BrokerSession(
            self._attempts,
            self._settings,
            self._protocol,
            on_connected=self._connected,
            on_message=self._listener.received,
            on_subscribed=self._listener.subscribed,
            on_turn=self._turn,
            clock=self._clock,
        )
        try:
            return End() if self._stopping.is_set() else session.run()
        except Exception as error:  # noqa: BLE001 - another connection is made, whatever a message caused
            self._log_once(error)
            return End(reason=f"the connection failed with {type(error).__name__}; see the log")
        finally:
            self._session = None

    def _connected(self, session: SessionInfo) -> None:
        self.connections += 1
        self.reason = ""
        self._listener.connected(session)

    def _report_end(self, end: End, *, accepted: bool, failures: int) -> None:
        if not end.reason and accepted and failures < UNANSWERED:
            self.reason = f"the connection to the broker {self._settings.address.endpoint} was lost"
            self._listener.lost()
            return
        self.reason = end.reason or (
            f"the broker {self._settings.address.endpoint} accepts each connection and closes it shortly afterwards"
        )
        self._listener.unavailable(self.reason)

    def _choose_protocol(self, end: End, *, accepted: bool) -> bool:
        """Choose the MQTT version for the next attempt: 5 after a good connection, 3.1.1 for a broker without MQTT 5.

        Returns:
            Whether the next attempt may follow at once.
        """
        if self._settings.version != "auto":
            return False
        self._unanswered = self._unanswered + 1 if end.unanswered else 0
        tried_5 = self._protocol == MQTTProtocolVersion.MQTTv5
        if accepted:
            self._protocol = MQTTProtocolVersion.MQTTv5
        elif end.unsupported or self._unanswered >= UNANSWERED:
            self._unanswered = 0
            self._protocol = MQTTProtocolVersion.MQTTv311 if tried_5 else MQTTProtocolVersion.MQTTv5
        return end.unsupported and tried_5

    def _log_once(self, error: Exception) -> None:
        traceback = error.__traceback__
        while traceback is not None and traceback.tb_next is not None:
            traceback = traceback.tb_next
        place = f"{type(error).__name__} {traceback.tb_frame.f_code.co_filename if traceback else ''}"
        place += f":{traceback.tb_lineno if traceback else 0}"
        if place not in self._logged:
            self._logged.add(place)
            _log.error("a connection failed; it is opened again, and this error is not logged again", exc_info=error)
