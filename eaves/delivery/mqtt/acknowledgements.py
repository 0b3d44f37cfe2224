"""A broker's acknowledgement as an answer, so that the deliverer's own rules decide what happens to the entry."""

from __future__ import annotations

from eaves.delivery.response_rules import ACCEPTED, SinkResponse
from eaves.mqtt import Acknowledgement

FIRST_FAILURE = 0x80
"""Reason codes below it are successes, 0x10 (no matching subscribers) among them. Source: MQTT 5.0, section 2.4."""
STATUSES = {
    0x87: 403,  # not authorised: the way's fault, the queue pauses
    0x90: 422,  # topic name invalid: this broker doesn't take this topic, however often it is sent
    0x95: 413,  # packet too large; mosquitto answers it although section 3.4.2.1 doesn't list it
    0x97: 429,  # quota exceeded: the queue pauses
    0x99: 415,  # payload format invalid
}
"""HTTP status of the same meaning by reason code of PUBACK; any other failure is 500, which is tried again.

Source: MQTT 5.0, section 3.4.2.1; `eaves.delivery.response_rules` for what follows from a status.
"""
TOO_LARGE = 413


def build_answer(acknowledgement: Acknowledgement, *, broker: str, topic: str) -> SinkResponse:
    """What the broker says of one message.

    Args:
        acknowledgement: Its PUBACK.
        broker: Its address, for people.
        topic: The message's topic before attributes were filled in, so that a refusal has one reason for all labels.
    """
    code = acknowledgement.code
    if code < FIRST_FAILURE:
        return SinkResponse(status=ACCEPTED)
    reason = f"the broker {broker} refuses a message to {topic}: {acknowledgement.name} (MQTT reason code 0x{code:02x})"
    return SinkResponse(status=STATUSES.get(code, 500), body=reason.encode())


def refuse_size(size_bytes: int, limit_bytes: int, *, broker: str) -> SinkResponse:
    """What the broker would say of a message that is larger than it takes."""
    reason = f"a message of {size_bytes} bytes is larger than the broker {broker} takes: {limit_bytes} bytes"
    return SinkResponse(status=TOO_LARGE, body=reason.encode())
