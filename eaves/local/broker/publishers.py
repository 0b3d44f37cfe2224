"""Publishing of events to MQTT brokers for triggers, each over a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from eaves.base.clock import SYSTEM, Clock
from eaves.delivery import SinkResponse
from eaves.errors import UnreachableError
from eaves.events import Event
from eaves.platform import AppSpec, TriggerSpec

if TYPE_CHECKING:
    from eaves.plugins.mqtt.sink import BrokerLink, MqttSink


class Publishers:
    """The MQTT sinks of all apps, by app and trigger; safe to use from several threads.

    Args:
        clock: Clock for pauses and deadlines.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._sinks: dict[tuple[str, str], tuple[tuple[str, TriggerSpec], BrokerLink, MqttSink]] = {}

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
        wanted = {
            (app.function.name, trigger.name): (app, trigger)
            for app in apps
            for trigger in app.triggers
            if trigger.is_mqtt
        }
        with self._lock:
            if self._closed:
                return
            for app, trigger in wanted.values():
                self._open(app, trigger)
            leaving = [self._sinks.pop(name)[1] for name in self._sinks.keys() - wanted.keys()]
        _close(leaving)

    def close(self) -> None:
        """Close every connection, after a short wait for messages in flight."""
        with self._lock:
            self._closed = True
            leaving = [link for _, link, _ in self._sinks.values()]
            self._sinks.clear()
        for thread in _close(leaving):
            thread.join()

    def _open(self, app: AppSpec, trigger: TriggerSpec) -> MqttSink:
        # Importing paho takes 0.1 s, which `eaves up` spends only with such a trigger.
        from eaves.plugins.mqtt.sink import MqttSink, build_link

        function = app.function
        name, spec = (function.name, trigger.name), (function.site, trigger)
        if name in self._sinks:
            known, link, sink = self._sinks[name]
            if known == spec:
                return sink
            _close([link])
        link = build_link(trigger.url, trigger.mqtt, site=function.site, app=function.name, clock=self._clock)
        link.start()
        self._sinks[name] = spec, link, MqttSink(trigger.url, trigger.mqtt, link, clock=self._clock)
        return self._sinks[name][2]


def _close(links: Iterable[BrokerLink]) -> list[threading.Thread]:
    """Close several connections at the same time, because each may take some seconds."""
    threads = [threading.Thread(target=link.close, name="mqtt-close", daemon=True) for link in links]
    for thread in threads:
        thread.start()
    return threads
