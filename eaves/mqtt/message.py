"""What is received and what is published, as values of our own."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message from the broker.

    Attributes:
        topic: The topic that it was published to.
        payload: What was published.
        qos: 0 or 1. Only what has 1 can be acknowledged, and is kept by the broker until it is.
        retain: Whether the broker kept it from before the subscription.
        dup: Whether the broker says that it may have sent it before.
        packet_id: The broker's number of it, until it is acknowledged; 0 with QoS 0.
        session: Number of the connection that it arrived on, for its acknowledgement.
        size_bytes: Bytes of the whole packet as it was sent.
        cut: Whether it was larger than allowed, so that `payload` is its beginning only.
        content_type: Media type of the payload, as MQTT 5 carries it; empty when it isn't said.
        user_properties: Names and values that MQTT 5 carries beside the payload, in order; names may repeat.
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
        topic: Where to.
        payload: What.
        retain: Whether the broker keeps it for later subscribers.
        content_type: Media type of the payload; MQTT 5 only, left out with 3.1.1.
        user_properties: Names and values beside the payload; MQTT 5 only, left out with 3.1.1.
    """

    topic: str
    payload: bytes = field(repr=False)
    retain: bool = False
    content_type: str = ""
    user_properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """What a broker says of a publication.

    Attributes:
        code: Reason code of PUBACK; below 0x80 the broker has taken the message. 0 with MQTT 3.1.1, which knows no
            refusal. Source: MQTT 5.0, section 3.4.2.1.
        name: The code's name, lower-case.
    """

    code: int
    name: str
