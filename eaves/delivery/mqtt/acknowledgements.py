"""Translation of a broker's acknowledgement into a sink response, so that the deliverer's rules apply to it."""

from __future__ import annotations

from eaves.delivery.response_rules import ACCEPTED, SinkResponse
from eaves.mqtt import Acknowledgement

FIRST_FAILURE = 0x80
"""Lowest reason code that is a failure. Lower codes are successes, including 0x10 (no matching subscribers).

Source: MQTT 5.0, section 2.4.
"""
STATUSES = {
    0x87: 403,  # not authorised: the network path is at fault, and the queue pauses
    0x90: 422,  # topic name invalid: this broker never accepts this topic
    0x95: 413,  # packet too large; mosquitto sends it although section 3.4.2.1 doesn't list it
    0x97: 429,  # quota exceeded: the broker takes the message later
    0x99: 415,  # payload format invalid
}
"""HTTP status with the same meaning, by reason code of PUBACK; any other failure is 500, which is retried.

Source: MQTT 5.0, section 3.4.2.1; `eaves.delivery.response_rules` has the actions for each status.
"""
TOO_LARGE = 413


def build_answer(acknowledgement: Acknowledgement, *, broker: str, topic: str) -> SinkResponse:
    """Return the broker's response to one message.

    Args:
        acknowledgement: PUBACK of the message.
        broker: Address of the broker, for messages.
        topic: Topic of the message before attributes were filled in, so that refusals have the same reason for all
            labels.
    """
    code = acknowledgement.code
    if code < FIRST_FAILURE:
        return SinkResponse(status=ACCEPTED)
    reason = f"the broker {broker} refuses a message to {topic}: {acknowledgement.name} (MQTT reason code 0x{code:02x})"
    return SinkResponse(status=STATUSES.get(code, 500), body=reason.encode(), is_receivers=True)


def refuse_size(size_bytes: int, limit_bytes: int, *, broker: str) -> SinkResponse:
    """Return the response that the broker would give to a message above its maximum size."""
    reason = f"a message of {size_bytes} bytes exceeds the limit of the broker {broker}: {limit_bytes} bytes"
    return SinkResponse(status=TOO_LARGE, body=reason.encode(), is_receivers=True)
