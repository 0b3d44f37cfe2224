"""The connection to one broker, shared by all publishers."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

from eaves.base.clock import SYSTEM, Clock
from eaves.delivery.mqtt.home_assistant import OFFLINE, ONLINE, HomeAssistant
from eaves.delivery.mqtt.settings import MqttTriggerSettings, broker_url
from eaves.errors import DeliveryError, UnreachableError
from eaves.mqtt import (
    Acknowledgement,
    BrokerConnection,
    ConnectionListener,
    ConnectionSettings,
    Message,
    Publication,
    SessionInfo,
    parse_address,
)
from eaves.mqtt.message import Version

SETTLE_S = 3.0
"""Maximum wait for a connection that is being made, in seconds; after it an event counts as not sent. It is long enough
for the first attempt after a lost connection to fail, so that the reason of that failure is logged.
"""
PAUSE_S = 10.0
"""Minimum time between two answers to Home Assistant's start, in seconds; Home Assistant says once that it starts."""
GRACE_S = 1.0
"""Time that messages have for their acknowledgement when the broker link is closed, in seconds."""


class BrokerLink(ConnectionListener):
    """A connection to one broker, for many threads that publish.

    Args:
        settings: Settings of the connection. No session is kept, because messages that are not acknowledged are still
            in the spool.
        home: Messages for Home Assistant; None publishes none.
        clock: Clock of the connection. Time limits of messages are in real time, because the network follows no other
            clock.

    Attributes:
        broker: Address of the broker, for messages.
        home: Messages for Home Assistant, used while `order` is held; None when there are none.
        order: Lock that is held while messages are made and handed over, so that they are sent in the order in which
            they were made.
    """

    def __init__(
        self, settings: ConnectionSettings, *, home: HomeAssistant | None = None, clock: Clock = SYSTEM
    ) -> None:
        self.broker = settings.address.endpoint
        self.home = home
        self.order = threading.Lock()
        self._state = threading.Condition()
        self._unavailable = ""
        self._busy = 0
        self._closing = False
        will = home.availability(OFFLINE) if home else None
        self._connection = BrokerConnection(replace(settings, session_expiry_s=0, will=will), self, clock=clock)
        self._clock = clock
        self._is_asked, self._answered_at = False, float("-inf")
        self._described: list[Future[Acknowledgement]] = []

    def start(self) -> None:
        """Connect, and reconnect whenever the connection is lost."""
        self._connection.start()

    def is_alive(self) -> bool:
        """Return whether the broker link is connected or will connect again."""
        return self._connection.is_alive()

    def close(self, grace_s: float = GRACE_S) -> None:
        """End the connection; messages that are published later are refused.

        Args:
            grace_s: Time that messages in flight have for their acknowledgement, in seconds.
        """
        with self._state:
            self._closing = True
            self._state.notify_all()
            self._state.wait_for(lambda: not self._busy, grace_s)
            acknowledges = not self._busy
        if acknowledges and self.home is not None and self._connection.session is not None:
            with self.order:
                published = self._connection.publish(self.home.availability(OFFLINE))
            with self._state:
                published.add_done_callback(self._notify)
                self._state.wait_for(published.done, GRACE_S)
        self._connection.stop()

    @contextmanager
    def use(self) -> Iterator[SessionInfo]:
        """Yield the current session with the broker, in which the block publishes messages.

        Raises:
            UnreachableError: When there is no connection.
        """
        with self._state:
            self._busy += 1
        try:
            yield self._require()
        finally:
            with self._state:
                self._busy -= 1
                self._state.notify_all()

    def send(self, messages: Sequence[Publication]) -> list[Future[Acknowledgement]]:
        """Hand messages over to the connection. The caller holds `order`."""
        return [self._connection.publish(message) for message in messages]

    def wait(self, sent: Sequence[Future[Acknowledgement]], timeout_s: float) -> list[Acknowledgement]:
        """Wait for the broker's acknowledgements of messages that were sent, and return them.

        Raises:
            DeliveryError: When they don't arrive in time, or the connection was lost before; the messages may have
                arrived.
        """
        deadline = time.monotonic() + timeout_s
        try:
            return [one.result(max(0.0, deadline - time.monotonic())) for one in sent]
        except TimeoutError as error:
            self._connection.reconnect()  # paho keeps unacknowledged messages while the connection lasts
            raise DeliveryError(
                f"the broker {self.broker} didn't acknowledge the message within {timeout_s:g} s"
            ) from error
        except UnreachableError as error:
            self._settle()
            reason = self._unavailable or f"the connection to the broker {self.broker} was lost"
            raise DeliveryError(reason, hint="check that the broker runs") from error

    def connected(self, session: SessionInfo) -> None:
        """Publish all Home Assistant messages again, because the broker may have lost its retained messages."""
        if self.home is not None:
            self._connection.subscribe([self.home.birth_topic, self.home.availability(ONLINE).topic])
            self._is_asked = False
            self._describe(self.home)
        with self._state:
            self._unavailable = ""
            self._state.notify_all()

    def lost(self) -> None:
        """Record that the connection was lost.

        Threads that publish then wait for the next attempt to connect, whose failure gives a better reason.
        """
        with self._state:
            self._unavailable = ""

    def unavailable(self, reason: str) -> None:
        """Record why there is no connection; threads that wait for one then fail with this reason."""
        with self._state:
            self._unavailable = reason
            self._state.notify_all()

    def received(self, message: Message) -> None:
        """Publish all Home Assistant messages again when Home Assistant has started or an older connection has ended.

        The will message of an older connection says that the sensors are offline. Anybody who may publish to these
        topics may ask, so an answer comes at most every `PAUSE_S` seconds, and none before the last one has arrived. A
        request that comes earlier is answered then.
        """
        if self.home is None:
            return
        started = message.topic == self.home.birth_topic and message.payload == ONLINE
        mistaken = message.topic == self.home.availability(ONLINE).topic and message.payload == OFFLINE
        self._is_asked = self._is_asked or started or mistaken
        self._connection.acknowledge(message)
        self.turned()

    def turned(self) -> None:
        """Answer a request for all Home Assistant messages when it is time."""
        now = self._clock.monotonic()
        if not self._is_asked or now < self._answered_at + PAUSE_S or not all(one.done() for one in self._described):
            return
        if self.home is not None:
            self._is_asked, self._answered_at = False, now
            self._describe(self.home)

    def _describe(self, home: HomeAssistant) -> None:
        """Hand all messages for Home Assistant over to the connection."""
        with self.order:
            if not self._closing:
                self._described = self.send([home.availability(ONLINE), *home.all_messages()])

    def _require(self) -> SessionInfo:
        self._settle()
        session = self._connection.session
        if self._closing:
            raise UnreachableError(f"the client for the broker {self.broker} is closed")
        if session is None:
            reason = self._unavailable or f"not connected yet to the broker {self.broker}"
            raise UnreachableError(reason, hint="check that the broker runs")
        return session

    def _settle(self) -> None:
        """Wait until there is a connection, or until it is known why there is none."""
        with self._state:
            self._state.wait_for(
                lambda: self._closing or self._unavailable or self._connection.session is not None, SETTLE_S
            )

    def _notify(self, _: object) -> None:
        with self._state:
            self._state.notify_all()


MAX_NAME = 40


def build_link(url: str, settings: MqttTriggerSettings, *, site: str, app: str, clock: Clock = SYSTEM) -> BrokerLink:
    """Return a broker link to the broker of a trigger's url; the broker link connects when it is started.

    Each process uses a different client id, because no session is kept for it: with the same id, two machines with the
    same names would disconnect each other.

    Args:
        url: URL of the trigger, which `find_url_fault` accepts.
        settings: Settings of the trigger's `mqtt` section.
        site: Name of the site.
        app: Name of the app, which is also its function's name.
        clock: Clock for monotonic time.
    """
    home = HomeAssistant(site=site, app=app, prefix=settings.discovery_prefix, clock=clock)
    connection = ConnectionSettings(
        address=parse_address(broker_url(url)),
        client_id=f"eaves-{site[:MAX_NAME]}-{app[:MAX_NAME]}-{secrets.token_hex(4)}",
        credentials=settings.credentials,
        version=cast(Version, settings.version),
    )
    return BrokerLink(connection, home=home if settings.home_assistant else None, clock=clock)
