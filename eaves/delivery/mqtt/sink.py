"""The sink of one trigger: an event is delivered when the broker has acknowledged every message made from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from eaves.base.clock import SYSTEM, Clock
from eaves.delivery.mqtt.broker_link import BrokerLink
from eaves.delivery.mqtt.home_assistant import HomeAssistant
from eaves.delivery.mqtt.message import NewestEvents, build_cloudevent, build_json, packet_bytes
from eaves.delivery.mqtt.settings import JSON, MqttTriggerSettings, build_topic, topic_template
from eaves.delivery.response_rules import ACCEPTED, DeliveryAction, SinkResponse, choose_action
from eaves.events import Event
from eaves.mqtt import Acknowledgement, Publication, SessionInfo

MAX_ACKNOWLEDGEMENT_S = 20.0
"""Maximum wait for a broker's acknowledgement in seconds; a trigger's longer time limit for predictions doesn't raise
it."""


class MqttSink:
    """Publishes events with QoS 1; many threads can use it.

    Args:
        url: URL of the trigger.
        settings: Settings of the trigger's `mqtt` section.
        link: Connection to the broker.
        clock: Clock for monotonic time.
    """

    def __init__(self, url: str, settings: MqttTriggerSettings, link: BrokerLink, *, clock: Clock = SYSTEM) -> None:
        self._template = topic_template(url)
        self._settings = settings
        self._link = link
        self._latest = NewestEvents(clock)

    def send(self, event: Event, *, timeout_s: float) -> SinkResponse:
        """Publish one event, and wait until the broker has acknowledged it.

        Messages for Home Assistant are published first. When the broker doesn't allow them, the event's own message is
        not published again at each attempt.

        Args:
            event: Event to publish.
            timeout_s: Time limit for the acknowledgements in seconds; values above 20 s count as 20 s.

        Raises:
            EventError: When the event can't be encoded; a retry would fail too.
            UnreachableError: When there is no connection, so that nothing was sent.
            DeliveryError: When the broker didn't acknowledge in time, or the connection was lost before.
        """
        started = time.monotonic()
        with self._link.use() as session:
            answer = self._publish(event, session, min(timeout_s, MAX_ACKNOWLEDGEMENT_S))
        return replace(answer, latency_ms=(time.monotonic() - started) * 1000)

    def _publish(self, event: Event, session: SessionInfo, timeout_s: float) -> SinkResponse:
        message = self._build(event, session)
        size_bytes, limit_bytes = packet_bytes(message), session.max_packet_bytes
        if limit_bytes is not None and size_bytes > limit_bytes:
            return refuse_size(size_bytes, limit_bytes, broker=self._link.broker)
        if self._link.home is not None:
            answer = self._update_home(self._link.home, event, timeout_s)
            if choose_action(answer.status) is not DeliveryAction.DONE:
                return answer
        with self._link.order:
            if message.retain and not self._latest.accept(message.topic, event):
                message = replace(message, retain=False)  # the broker keeps the newer message that was sent before
            sent = self._link.send([message])
        return self._wait(sent, self._template, timeout_s)

    def _update_home(self, home: HomeAssistant, event: Event, timeout_s: float) -> SinkResponse:
        answer: SinkResponse | None = None
        with self._link.order:
            sent = self._link.send(home.update(event))
        try:
            answer = self._wait(sent, f"the topics of Home Assistant ({home.topics})", timeout_s)
        finally:
            if answer is None or choose_action(answer.status) is not DeliveryAction.DONE:
                with self._link.order:
                    home.forget(event)
        return answer

    def _build(self, event: Event, session: SessionInfo) -> Publication:
        topic = build_topic(self._template, event)
        build = build_json if self._settings.format == JSON else build_cloudevent
        return build(event, topic, version5=session.version == "5", retain=self._settings.retain)

    def _wait(self, sent: Sequence[Future[Acknowledgement]], topic: str, timeout_s: float) -> SinkResponse:
        """Wait for the broker's acknowledgements of messages; return the first refusal, or else a success."""
        answers = [build_answer(one, broker=self._link.broker, topic=topic) for one in self._link.wait(sent, timeout_s)]
        refused = [one for one in answers if choose_action(one.status) is not DeliveryAction.DONE]
        return next(iter(refused or answers), SinkResponse(status=ACCEPTED))


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
