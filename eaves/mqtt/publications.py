"""Messages that were published on one connection and wait for the broker's acknowledgement."""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from eaves.errors import DeliveryError, UnreachableError
from eaves.mqtt.client import BoundedClient
from eaves.mqtt.message import Acknowledgement, Publication

PACKET_TOO_LARGE = 0x95
MAX_IN_FLIGHT = 20
"""Maximum number of publications that wait for their acknowledgement; a broker may ask for fewer."""


class Publications:
    """Publications of one connection. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._ended = False
        self._unconfirmed: dict[int, Future[Acknowledgement]] = {}

    def send(
        self, client: BoundedClient, publication: Publication, *, with_properties: bool
    ) -> Future[Acknowledgement]:
        """Send a message with QoS 1.

        Args:
            client: Client of the connection.
            publication: Message to send.
            with_properties: Whether the connection uses MQTT 5.

        Returns:
            The broker's answer. It fails with UnreachableError when the connection ends first, and with DeliveryError
            when too many messages wait for an answer.
        """
        properties = _build_properties(publication) if with_properties else None
        topic, payload = publication.topic, publication.payload
        sent = client.publish(topic, payload, 1, retain=publication.retain, properties=properties)
        if sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:  # its packet id belongs to a message that isn't answered yet
            refused: Future[Acknowledgement] = Future()
            refused.set_exception(DeliveryError("too many messages wait for the broker's acknowledgement"))
            return refused
        future = self._unconfirmed.setdefault(sent.mid, Future())  # `resolve` may have made it already
        future.add_done_callback(lambda _: self._unconfirmed.pop(sent.mid, None))
        if self._ended:
            fail(future)
        return future

    def resolve(self, packet_id: int, code: ReasonCode, *, unlisted_code: int) -> None:
        """Resolve a publication with the broker's answer.

        Args:
            packet_id: Packet id of the message.
            code: Reason code of the answer.
            unlisted_code: Reason code as it was sent when MQTT doesn't list it for acknowledgements, else 0.
        """
        future = self._unconfirmed.setdefault(packet_id, Future())
        name = "packet too large" if unlisted_code == PACKET_TOO_LARGE else str(code).lower()
        with suppress(InvalidStateError):
            future.set_result(Acknowledgement(code=unlisted_code or code.value, name=name))

    def end(self) -> None:
        """End all publications: those without an answer fail, and so do later ones."""
        self._ended = True
        for future in list(self._unconfirmed.values()):
            fail(future)


def fail(future: Future[Acknowledgement]) -> None:
    """Make a publication fail with UnreachableError, because its connection is down."""
    with suppress(InvalidStateError):
        future.set_exception(UnreachableError("the connection to the broker is down"))


def _build_properties(publication: Publication) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if publication.content_type:
        properties.ContentType = publication.content_type
    if publication.user_properties:
        properties.UserProperty = list(publication.user_properties)
    return properties
