"""Publishing of events to MQTT brokers for triggers, over connections that triggers share."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from eaves.base.clock import SYSTEM, Clock
from eaves.delivery import SinkResponse
from eaves.delivery.mqtt.settings import broker_url
from eaves.errors import UnreachableError
from eaves.events import Event
from eaves.platform import AppSpec, TriggerSpec

if TYPE_CHECKING:
    from eaves.delivery.mqtt.broker_link import BrokerLink
    from eaves.delivery.mqtt.sink import MqttSink

Key = tuple[object, ...]
"""Broker, credentials and other values of an MQTT trigger; triggers with equal values share a connection."""


class Publishers:
    """The MQTT sinks of all apps; safe to use from several threads.

    Triggers with the same broker and credentials share a connection. A trigger that announces itself to Home Assistant
    has its own connection, because the connection's last will says that the trigger's app is unavailable.

    Args:
        clock: Clock for pauses and deadlines.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._links: dict[Key, BrokerLink] = {}
        self._sinks: dict[tuple[str, str], tuple[TriggerSpec, MqttSink]] = {}

    def send(self, app: AppSpec, trigger: TriggerSpec, event: Event) -> SinkResponse:
        """Publish one event of a trigger, and wait until its broker has acknowledged it.

        Raises:
            EventError: When the event can't be encoded; retries don't help.
            DeliveryError: When the broker did not acknowledge the event; an UnreachableError when nothing was sent.
        """
        with self._lock:
            if self._closed:
                raise UnreachableError("the MQTT publishers are stopped", hint="start `eaves up`")
            sink = self._open(app, trigger)
        return sink.send(event, timeout_s=trigger.delivery.timeout_s)

    def reconcile(self, apps: Iterable[AppSpec]) -> None:
        """Connect to the brokers of these apps' triggers, and close all other connections."""
        wanted = [(app, trigger) for app in apps for trigger in app.triggers if trigger.is_mqtt]
        with self._lock:
            if self._closed:
                return
            for app, trigger in wanted:
                self._open(app, trigger)
            names = {(app.function.name, trigger.name) for app, trigger in wanted}
            self._sinks = {name: sink for name, sink in self._sinks.items() if name in names}
            keys = {_key(app, trigger) for app, trigger in wanted}
            leaving = [self._links.pop(key) for key in self._links.keys() - keys]
        _close(leaving)

    def close(self) -> None:
        """Close every connection, after a short wait for messages in flight."""
        with self._lock:
            self._closed = True
            leaving = list(self._links.values())
            self._links.clear()
        _close(leaving)

    def _open(self, app: AppSpec, trigger: TriggerSpec) -> MqttSink:
        from eaves.delivery.mqtt.broker_link import (
            build_link,  # importing paho takes 0.1 s, which `eaves up` spends only with such a trigger
        )
        from eaves.delivery.mqtt.sink import MqttSink

        function = app.function
        name = function.name, trigger.name
        known, sink = self._sinks.get(name, (None, None))
        key = _key(app, trigger)
        if sink is not None and known == trigger and key in self._links:
            return sink
        if key not in self._links:
            self._links[key] = build_link(
                trigger.url, trigger.mqtt, site=function.site, app=function.name, clock=self._clock
            )
            self._links[key].start()
        sink = MqttSink(trigger.url, trigger.mqtt, self._links[key], clock=self._clock)
        self._sinks[name] = trigger, sink
        return sink


def _key(app: AppSpec, trigger: TriggerSpec) -> Key:
    shared = (broker_url(trigger.url), trigger.mqtt.credentials, trigger.mqtt.version)
    if not trigger.mqtt.home_assistant:
        return shared
    return (*shared, app.function.site, app.function.name, trigger.name, trigger.mqtt.discovery_prefix)


def _close(links: Iterable[BrokerLink]) -> None:
    """Close several connections at the same time, because each may take some seconds."""
    threads = [threading.Thread(target=link.close, name="mqtt-close", daemon=True) for link in links]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
