"""Types of received and published messages, independent of paho-mqtt."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message from the broker.

    Attributes:
        topic: Topic that the message was published to.
        payload: Bytes that were published.
        qos: 0 or 1. Only a message with 1 can be acknowledged, and the broker keeps it until then.
        retain: Whether the broker has retained the message from before the subscription.
        dup: Whether the broker says that it may have sent the message before.
        packet_id: The broker's number of the message, until it is acknowledged; 0 with QoS 0.
        session: Number of the connection that the message arrived on, for its acknowledgement.
        size_bytes: Size of the whole packet as it was sent, bytes.
        cut: Whether the message was larger than allowed, so that `payload` is only its beginning.
        content_type: Media type of the payload, from MQTT 5; empty when it isn't given.
        user_properties: Names and values of MQTT 5's user properties, in order; names may repeat.
    """

    topic: str
    payload: bytes = field(repr=False)
    qos: int = 1
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    session: int = 0
    size_bytes: int = 0
    cut: bool = False
    content_type: str = ""
    user_properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One message to the broker, with QoS 1.

    Attributes:
        topic: Topic to publish to.
        payload: Bytes to publish.
        retain: Whether the broker retains the message for later subscribers.
        content_type: Media type of the payload; MQTT 5 only, left out with 3.1.1.
        user_properties: Names and values of user properties; MQTT 5 only, left out with 3.1.1.
    """

    topic: str
    payload: bytes = field(repr=False)
    retain: bool = False
    content_type: str = ""
    user_properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Answer of a broker to a publication.

    Attributes:
        code: Reason code of PUBACK; below 0x80 the broker has accepted the message. 0 with MQTT 3.1.1, which has no
            refusal. Source: MQTT 5.0, section 3.4.2.1.
        name: Name of the code in lower case.
    """

    code: int
    name: str
