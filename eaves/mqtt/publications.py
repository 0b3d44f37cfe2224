"""Messages that were published on one connection and wait for the broker's acknowledgement."""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from eaves.errors import UnreachableError
from eaves.mqtt.client import BoundedClient
from eaves.mqtt.message import Acknowledgement, Publication

PACKET_TOO_LARGE = 0x95
MAX_IN_FLIGHT = 20
"""Most publications that wait for their acknowledgement; a broker may ask for fewer."""


class Publications:
    """The publications of one connection. All of it may be called from any thread."""

    def __init__(self) -> None:
        self._ended = False
        self._unconfirmed: dict[int, Future[Acknowledgement]] = {}

    def send(
        self, client: BoundedClient, publication: Publication, *, with_properties: bool
    ) -> Future[Acknowledgement]:
        """Send a message with QoS 1.

        Args:
            client: The connection.
            publication: The message.
            with_properties: Whether the connection speaks MQTT 5.
        """
        properties = _build_properties(publication) if with_properties else None
        topic, payload = publication.topic, publication.payload
        sent = client.publish(topic, payload, 1, retain=publication.retain, properties=properties)
        future = self._unconfirmed.setdefault(sent.mid, Future())  # `settle` may have made it by now
        future.add_done_callback(lambda _: self._unconfirmed.pop(sent.mid, None))
        if self._ended:
            fail(future)
        return future

    def settle(self, packet_id: int, code: ReasonCode, *, unlisted: int = 0) -> None:
        """The broker has answered.

        Args:
            packet_id: The message.
            code: What.
            unlisted: The code that `code` stands for when MQTT lists it for other packets only, else 0.
        """
        name = "packet too large" if unlisted == PACKET_TOO_LARGE else str(code).lower()
        future = self._unconfirmed.setdefault(packet_id, Future())
        with suppress(InvalidStateError):
            future.set_result(Acknowledgement(code=unlisted or code.value, name=name))

    def end(self) -> None:
        """The connection is over: what isn't settled fails, and whatever is sent from now on."""
        self._ended = True
        for future in list(self._unconfirmed.values()):
            fail(future)


def fail(future: Future[Acknowledgement]) -> None:
    """Settle a publication whose connection is down."""
    with suppress(InvalidStateError):
        future.set_exception(UnreachableError("the connection to the broker is down"))


def _build_properties(publication: Publication) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if publication.content_type:
        properties.ContentType = publication.content_type
    if publication.user_properties:
        properties.UserProperty = list(publication.user_properties)
    return properties
