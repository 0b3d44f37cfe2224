"""One broker as those who publish to it share it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from eaves.base.clock import SYSTEM, Clock
from eaves.delivery.mqtt.discovery import DiscoveryPublisher
from eaves.delivery.mqtt.home_assistant import OFFLINE, ONLINE, HomeAssistant
from eaves.errors import DeliveryError, UnreachableError
from eaves.mqtt import (
    Acknowledgement,
    BrokerConnection,
    ConnectionListener,
    ConnectionSettings,
    Message,
    Publication,
    SessionInfo,
)

SETTLE_S = 3.0
"""How long a connection that is being made is waited for before an event counts as not sent, seconds: long enough for
the first attempt after a loss, so that its reason is the one that is logged."""
GRACE_S = 1.0
"""How long messages have for their acknowledgement when the link is closed, seconds."""


class BrokerLink(ConnectionListener):
    """A connection to one broker, for any number of threads that publish.

    Args:
        settings: How to connect; no session is kept, as what isn't acknowledged is still in the spool.
        home: What Home Assistant is told over this connection; None for nothing.
        clock: Clock of the connection. Time limits of messages are real time, as the network knows no other.

    Attributes:
        broker: The broker's address, for people.
        home: As above. Held under `order`.
        order: Held while messages are made and handed over, so that they are sent in the order in which they were made.
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
        self._teller = DiscoveryPublisher(partial(self._tell, home), clock=clock) if home else None

    def start(self) -> None:
        """Connect, and stay connected, from now on."""
        if self._teller is not None:
            self._teller.start()
        self._connection.start()

    def is_alive(self) -> bool:
        """Whether it is connected, or will be again."""
        return self._connection.is_alive() and (self._teller is None or self._teller.is_alive())

    def close(self, grace_s: float = GRACE_S) -> None:
        """End the connection; what is published later is refused.

        Args:
            grace_s: How long messages in flight have for their acknowledgement, seconds.
        """
        if self._teller is not None:
            self._teller.stop()
        with self._state:
            self._closing = True
            self._state.notify_all()
            self._state.wait_for(lambda: not self._busy, grace_s)
            acknowledges = not self._busy
        if acknowledges and self.home is not None and self._connection.session is not None:
            with self.order:
                said = self._connection.publish(self.home.availability(OFFLINE))
            with self._state:
                said.add_done_callback(self._notify)
                self._state.wait_for(said.done, GRACE_S)
        self._connection.stop()

    @contextmanager
    def use(self) -> Iterator[SessionInfo]:
        """The connection as it is now, for a few messages.

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
        """What the broker says of messages that were sent.

        Raises:
            DeliveryError: When it doesn't say it in time, or the connection was lost before: they may have arrived.
        """
        deadline = time.monotonic() + timeout_s
        try:
            return [one.result(max(0.0, deadline - time.monotonic())) for one in sent]
        except TimeoutError as error:
            self._connection.reconnect()  # paho keeps what isn't acknowledged for as long as the connection lasts
            raise DeliveryError(f"the broker {self.broker} didn't acknowledge within {timeout_s:g} s") from error
        except UnreachableError as error:
            self._settle()
            reason = self._unavailable or f"the connection to the broker {self.broker} was lost"
            raise DeliveryError(reason, hint="check that the broker runs") from error

    def connected(self, session: SessionInfo) -> None:
        """Tell Home Assistant everything anew: the broker may have lost what it kept."""
        if self.home is not None and self._teller is not None:
            self._connection.subscribe([self.home.birth_topic, self.home.availability(ONLINE).topic])
            self._teller.request(at_once=True)
        with self._state:
            self._unavailable = ""
            self._state.notify_all()

    def lost(self) -> None:
        """Let those who wait wait for the next attempt, which says more."""
        with self._state:
            self._unavailable = ""

    def unavailable(self, reason: str) -> None:
        """Let those who wait fail."""
        with self._state:
            self._unavailable = reason
            self._state.notify_all()

    def received(self, message: Message) -> None:
        """Tell Home Assistant everything anew: it has started, or an older connection's will says that we are off."""
        if self.home is None or self._teller is None:
            return
        started = message.topic == self.home.birth_topic and message.payload == ONLINE
        mistaken = message.topic == self.home.availability(ONLINE).topic and message.payload == OFFLINE
        if started or mistaken:
            self._teller.request()
        self._connection.acknowledge(message)

    def _tell(self, home: HomeAssistant) -> list[Future[Acknowledgement]]:
        with self.order:
            if self._closing:
                return []
            return self.send([home.availability(ONLINE), *home.all_messages()])

    def _require(self) -> SessionInfo:
        self._settle()
        session = self._connection.session
        if self._closing:
            raise UnreachableError(f"publishing to the broker {self.broker} has ended")
        if session is None:
            reason = self._unavailable or f"the connection to the broker {self.broker} is being made"
            raise UnreachableError(reason, hint="check that the broker runs")
        return session

    def _settle(self) -> None:
        """Wait until there is a connection, or a reason why not."""
        with self._state:
            self._state.wait_for(
                lambda: self._closing or self._unavailable or self._connection.session is not None, SETTLE_S
            )

    def _notify(self, _: object) -> None:
        with self._state:
            self._state.notify_all()
