"""A connection that is made again for as long as the process lives."""

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
"""A connection that lasted so long, seconds, was a good one: the next pause is the shortest again. Two clients of one
name that push each other out so do it every few seconds, not all the time."""
UNANSWERED = 3
"""So many connections in a row that are closed without an answer, and the next attempt uses the other version."""
JOIN_S = 2.0
STUCK_S = 300.0
"""A thread that has neither turned the network loop nor begun an attempt for so long, seconds, hangs: looking up a
name, connecting and the pause before the next attempt take a minute and a half together at most."""

_log = logging.getLogger(__name__)


class ConnectionListener:
    """What a connection tells. Called on its own thread, which must not wait: it answers the broker's keepalive.

    An exception is a bug: it is logged with its traceback and ends the connection, which is made anew.
    """

    def connected(self, session: SessionInfo) -> None:
        """The broker has accepted a connection."""

    def lost(self) -> None:
        """The connection has ended without a reason; another is made after a short pause."""

    def unavailable(self, reason: str) -> None:
        """There is no connection, and an attempt has failed or the broker has said why; a sentence, no credentials."""

    def subscribed(self, refused: Sequence[str]) -> None:
        """The broker has answered a subscription; `refused` names filters that it doesn't allow, with the reason."""

    def received(self, message: Message) -> None:
        """A message has come."""


class BrokerConnection:
    """A connection to one broker, made again after growing pauses whenever it ends.

    Args:
        settings: How to connect.
        listener: Who is told.
        clock: Time.
        stuck_s: After so many seconds without a sign of life the connection's thread counts as hung. They pass as they
            do, whatever `clock` says: so does what the thread waits for.

    Attributes:
        connections: Connections that a broker has accepted since the start.
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
        # With the context of who makes it, so that its log records have the fields of that one's.
        run = partial(contextvars.copy_context().run, self._run)
        self._thread = threading.Thread(target=run, name=f"mqtt-{settings.client_id}", daemon=True)

    @property
    def session(self) -> SessionInfo | None:
        """The connection as the broker has accepted it; None while there is none."""
        session = self._session
        return session.info if session else None

    def start(self) -> None:
        """Connect, and stay connected, from now on."""
        self._turn()
        self._thread.start()

    def stop(self) -> None:
        """End the connection and don't make another; waits at most 2 s."""
        self._stopping.set()
        self.reconnect()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)

    def is_alive(self) -> bool:
        """Whether the thread that connects runs and shows signs of life."""
        return self._thread.is_alive() and SYSTEM.monotonic() - self._turned_at < self._stuck_s

    def reconnect(self) -> None:
        """End the connection and make another: the broker then sends again what was never acknowledged."""
        session = self._session
        if session is not None:
            session.close()

    def subscribe(self, filters: Sequence[str], *, retained: bool = False) -> None:
        """Subscribe with QoS 1, in `ConnectionListener.connected`, as a subscription may be lost with its session.

        Args:
            filters: Topics, wildcards allowed.
            retained: Whether messages are wanted that the broker keeps from before a new subscription.
        """
        session = self._session
        if session is not None:
            session.subscribe(filters, retained=retained)

    def acknowledge(self, message: Message) -> bool:
        """Tell the broker that a message is stored, in the order of arrival.

        Returns:
            Whether the acknowledgement is on its way. False: the message's connection is over, and the broker sends it
            again unless it has lost the session.
        """
        session = self._session
        return session is not None and session.acknowledge(message)

    def publish(self, publication: Publication) -> Future[Acknowledgement]:
        """Send a message with QoS 1; may be called from several threads.

        Returns:
            What the broker says of it. It fails with UnreachableError when there is no connection, or when it ends
            before the broker has answered: the message may have arrived then. It fails with DeliveryError when no more
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
                    self._tell(end, accepted=accepted, failures=failures)
                except Exception as error:  # noqa: BLE001 - the thread goes on, whatever a listener does
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
        except Exception as error:  # noqa: BLE001 - a connection is made anew, whatever a message did
            self._log_once(error)
            return End(reason=f"the connection failed with {type(error).__name__}; the log has it")
        finally:
            self._session = None

    def _connected(self, session: SessionInfo) -> None:
        self.connections += 1
        self.reason = ""
        self._listener.connected(session)

    def _tell(self, end: End, *, accepted: bool, failures: int) -> None:
        if not end.reason and accepted and failures < UNANSWERED:
            self.reason = f"the connection to the broker {self._settings.address.endpoint} was lost"
            self._listener.lost()
            return
        self.reason = end.reason or (
            f"the broker {self._settings.address.endpoint} ends each connection soon after it has accepted it"
        )
        self._listener.unavailable(self.reason)

    def _choose_protocol(self, end: End, *, accepted: bool) -> bool:
        """Choose the version for the next attempt: MQTT 5 after each good connection, 3.1.1 where that isn't spoken.

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
            _log.error("a connection failed; it is made anew, and this error is not logged again", exc_info=error)
