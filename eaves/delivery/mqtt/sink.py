"""The sink of one trigger: an event is delivered when the broker has acknowledged every message made from it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from eaves.base.clock import SYSTEM, Clock
from eaves.delivery.mqtt.acknowledgements import build_answer, refuse_size
from eaves.delivery.mqtt.broker_link import BrokerLink
from eaves.delivery.mqtt.home_assistant import HomeAssistant
from eaves.delivery.mqtt.message import build_cloudevent, build_json, packet_bytes
from eaves.delivery.mqtt.newest_event import NewestEvents
from eaves.delivery.mqtt.settings import JSON, MqttTriggerSettings
from eaves.delivery.mqtt.target import topic_template
from eaves.delivery.mqtt.topic import build_topic
from eaves.delivery.response_rules import ACCEPTED, DeliveryAction, SinkResponse, choose_action
from eaves.events import Event
from eaves.mqtt import Acknowledgement, Publication, SessionInfo

MAX_ACKNOWLEDGEMENT_S = 20.0
"""Maximum wait for a broker's acknowledgement in seconds; a trigger's longer time limit for predictions doesn't raise
it."""

_log = logging.getLogger(__name__)


class MqttSink:
    """Publishes events with QoS 1; many threads can use it.

    Args:
        name: Name of the trigger, for the log.
        url: URL of the trigger.
        settings: Settings of the trigger's `mqtt` section.
        link: Connection to the broker.
        clock: Clock for monotonic time.
    """

    def __init__(
        self, name: str, url: str, settings: MqttTriggerSettings, link: BrokerLink, *, clock: Clock = SYSTEM
    ) -> None:
        self._name = name
        self._template = topic_template(url)
        self._settings = settings
        self._link = link
        self._latest = NewestEvents(clock)
        self._logged: set[str] = set()

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
        for name in topic.changed:
            self._log_fault(
                f"the attribute {name} contains characters that an MQTT topic must not contain", event, topic.name
            )
        for name in topic.missing:
            self._log_fault(f"the attribute {name} is missing", event, topic.name)
        build = build_json if self._settings.format == JSON else build_cloudevent
        return build(event, topic.name, version5=session.version == "5", retain=self._settings.retain)

    def _wait(self, sent: Sequence[Future[Acknowledgement]], topic: str, timeout_s: float) -> SinkResponse:
        """Wait for the broker's acknowledgements of messages; return the first refusal, or else a success."""
        answers = [build_answer(one, broker=self._link.broker, topic=topic) for one in self._link.wait(sent, timeout_s)]
        refused = [one for one in answers if choose_action(one.status) is not DeliveryAction.DONE]
        return next(iter(refused or answers), SinkResponse(status=ACCEPTED))

    def _log_fault(self, fault: str, event: Event, topic: str) -> None:
        """Log a problem with an attribute in a topic, once for each attribute."""
        if fault in self._logged:
            return
        self._logged.add(fault)
        _log.warning(
            "trigger %s: event %s: %s; the event is published to %s, and further cases are not logged",
            self._name,
            event.id[:64],
            fault,
            topic[:128],
        )
