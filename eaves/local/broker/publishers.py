"""Delivery of events to sinks (`eaves.delivery.sinks`) for triggers, each over a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from eaves.base.clock import SYSTEM, Clock
from eaves.delivery import SinkResponse
from eaves.delivery.sinks import Sink, SinkTarget, load_sink
from eaves.errors import UnreachableError
from eaves.events import Event
from eaves.platform import AppSpec, TriggerSpec


class Publishers:
    """The sinks of all apps, by app and trigger; safe to use from several threads.

    Args:
        clock: Clock for pauses and deadlines.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._sinks: dict[tuple[str, str], tuple[SinkTarget, Sink]] = {}

    def send(self, app: AppSpec, trigger: TriggerSpec, event: Event) -> SinkResponse:
        """Publish one event of a trigger, and wait until its broker has acknowledged it.

        Raises:
            EventError: When the event can't be encoded; retries don't help.
            DeliveryError: When the broker did not acknowledge the event; an UnreachableError when nothing was sent.
        """
        with self._lock:
            if self._closed:
                raise UnreachableError("the sinks are closed", hint="start `eaves up`")
            sink = self._open(app, trigger)
        return sink.send(event, timeout_s=trigger.delivery.timeout_s)

    def reconcile(self, apps: Iterable[AppSpec]) -> None:
        """Connect to the brokers of these apps' triggers, and close all other connections."""
        wanted = {
            (app.function.name, trigger.name): (app, trigger)
            for app in apps
            for trigger in app.triggers
            if trigger.needs_publisher
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
            leaving = [sink for _, sink in self._sinks.values()]
            self._sinks.clear()
        for thread in _close(leaving):
            thread.join()

    def _open(self, app: AppSpec, trigger: TriggerSpec) -> Sink:
        function = app.function
        name = function.name, trigger.name
        target = SinkTarget(
            url=trigger.url, settings=trigger.mqtt, site=function.site, app=function.name, clock=self._clock
        )
        known, sink = self._sinks.get(name, (None, None))
        if sink is None or known != target:
            if sink is not None:
                _close([sink])
            sink = load_sink(trigger.url)(target)
            self._sinks[name] = target, sink
        return sink


def _close(sinks: Iterable[Sink]) -> list[threading.Thread]:
    """Close several sinks at the same time, because each may take some seconds."""
    threads = [threading.Thread(target=sink.close, name="sink-close", daemon=True) for sink in sinks]
    for thread in threads:
        thread.start()
    return threads
