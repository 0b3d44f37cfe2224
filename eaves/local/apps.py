"""The deployed apps of the local platform: their functions, triggers and MQTT publishers are started from spec files.

A spec that can't be read leaves its app as it was, and the other apps run.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from eaves.base.clock import SYSTEM, Clock
from eaves.base.process_usage import ProcessUsage
from eaves.delivery import SinkClient, SinkResponse
from eaves.delivery.sinks import Sink, SinkTarget, load_sink
from eaves.errors import NotFoundError, PlatformError, StartError, UnreachableError
from eaves.events import Event
from eaves.http_client.proxies import DIRECT, Proxies
from eaves.local.broker import DeadLetterSink, Send, Subscription, build_relay_trigger
from eaves.local.processes.activator import Activator, capacity_of
from eaves.local.processes.process import ProcessHost
from eaves.local.processes.request_split import RequestSplit
from eaves.local.rollouts import LocalRollout, change_rollout, is_unsaved, load_rollouts
from eaves.local.state import LocalApp, LocalFunction
from eaves.platform import AppSpec, TriggerSpec, find_dead_letter_target
from eaves.redact import redact
from eaves.rollout.state import render_traffic

URL_PARALLEL = 4
"""Maximum number of concurrent deliveries to the address (`url`) of one trigger."""
RELAY_PARALLEL = 1
"""Maximum number of concurrent deliveries to a relay: one, so that the relay gets events in their order of arrival."""

_log = logging.getLogger(__name__)


class Apps:
    """The apps of one platform. One thread calls `reconcile` and `stop`, any thread the other methods.

    Attributes:
        wanted: Deployed specs by name; for a spec that can't be read now, its previous version.
        rollouts: Rollouts of the apps that have one, with the requests that were counted until now.
        unreadable: Reason by name of each spec that can't be read. The triggers of an app that is in this
            mapping and not in `wanted` aren't known, so its events in the broker are kept.

    Args:
        host: What all processes of the platform have in common; its state directory has the specs.
        subscribe: Replaces the broker's subscriptions, as `Broker.subscribe` does.
        send_to_relay: Sends an event to the relay of an app.
        address: Returns the URL of a function, which dead letters record as their destination.
        proxies: HTTP proxies for requests to the addresses of triggers.
    """

    def __init__(
        self,
        host: ProcessHost,
        *,
        subscribe: Callable[..., None],
        send_to_relay: Callable[[str, Event], SinkResponse],
        address: Callable[[str], str] = str,
        proxies: Proxies = DIRECT,
    ) -> None:
        self.wanted: dict[str, LocalApp] = {}
        self.unreadable: dict[str, str] = {}
        self._host = host
        self._set_subscriptions = subscribe
        self._send_to_relay = send_to_relay
        self._address = address
        self._client = SinkClient(proxies=proxies)
        self._publishers = Publishers(host.clock)
        self._fingerprint: object = None
        self.rollouts: dict[str, LocalRollout] = {}
        self._stored: dict[str, LocalRollout] = {}
        """The rollouts as their files have them."""
        self._splits: dict[str, RequestSplit] = {}
        self._leaving: list[Activator] = []
        self._subscribed: tuple[object, object] | None = None
        self._routed: frozenset[str] = frozenset()

    def reconcile(self) -> None:
        """Start, change and stop functions and triggers according to the spec files.

        A removed function is stopped after its triggers, which may still deliver to it. After an exception, the next
        call does what is left.

        Raises:
            OSError: When the directory of the specs can't be read; nothing is changed then.
        """
        self._read()
        try:
            self._make_functions()
            self._subscribe()
        except Exception:
            self._subscribed = None  # no event is accepted for an app without triggers, see `require_routes`
            raise
        for name in self._splits.keys() - self.wanted.keys():
            self._leaving += self._splits.pop(name).activators
        while self._leaving:
            _stop(self._leaving.pop())

    def advance_rollouts(self) -> None:
        """Count the requests of functions with a rollout, and carry out what follows; shares change after the files.

        When a smaller share can't be stored, the requests move nevertheless.

        Raises:
            OSError: When a rollout can't be stored. It is tried again by the next call.
        """
        is_changed = False
        for name, before in list(self.rollouts.items()):
            after = self._splits[name].advance(before, self._host.clock.now()) if before.candidate else before
            if after.state.percent <= before.state.percent:
                self.rollouts[name] = after
            if is_unsaved(self._stored[name].state, after.state):
                self._store(name, after)
            if after.state.traffic != before.state.traffic or after.state.phase is not before.state.phase:
                shares = render_traffic(after.state.traffic)
                _log.info("function %s: %s: %s: %s", name, after.state.phase.value, shares, after.state.reason)
                is_changed = True
        if is_changed:
            self.reconcile()

    def _store(self, name: str, rollout: LocalRollout) -> None:
        """Store a rollout, unless a command has changed it, which the next `reconcile` reads."""
        stored = self._stored[name]
        found = change_rollout(self._host.state, name, lambda _, present: rollout if present == stored else present)
        if found == rollout:
            self.rollouts[name] = self._stored[name] = rollout

    def require_routes(self) -> None:
        """Raise an error when the broker may lack triggers, so that an event isn't accepted without them.

        Raises:
            PlatformError: When triggers may be unknown.
        """
        if self._fingerprint is None:
            raise PlatformError("the deployed specs have not been read yet", hint="see the log of `eaves up`")
        unknown = self.unreadable.keys() - self.wanted.keys()
        if self._subscribed is None:
            unknown |= self.wanted.keys() - self._routed
        if unknown:
            name = min(unknown)
            message = (
                f"the triggers of {name} are unknown: {self.unreadable.get(name, 'the app has not been loaded yet')}"
            )
            raise PlatformError(
                message, hint=(f"deploy it again with `eaves deploy`, or remove it with `eaves remove {name}`")
            )

    def function(self, name: str) -> RequestSplit:
        """Return the running revisions of a function.

        Raises:
            NotFoundError: When there is no function with this name.
        """
        split = self._splits.get(name)
        if split is None:
            raise NotFoundError(
                f"no function {name!r} runs here (running: {', '.join(sorted(self._splits)) or 'none'})"
            )
        return split

    def state(self, name: str) -> tuple[str, int, str]:
        """Return the state of an app's function, its replicas and the reason of a failure; see `FunctionStatus`."""
        split = self._splits.get(name)
        return split.state() if split else ("starting", 0, "")

    def usage(self, name: str) -> ProcessUsage:
        """Return the usage of the replicas of an app's function."""
        split = self._splits.get(name)
        return split.usage() if split else ProcessUsage()

    def stop_publishing(self) -> None:
        """Close the connections to MQTT brokers, after a short wait for messages in flight."""
        self._publishers.close()

    def stop(self) -> None:
        """Stop every function after it has answered its accepted requests."""
        for split in self._splits.values():
            for activator in split.activators:
                _stop(activator)
        self._client.close()

    def _read(self) -> None:
        """Read the specs when one has changed or was unreadable; an unreadable file leaves its app unchanged."""
        fingerprint = self._host.state.fingerprint()
        if fingerprint == self._fingerprint and not self.unreadable:
            return
        found, unreadable = self._host.state.read_specs()
        found |= {name: self.wanted[name] for name in unreadable if name in self.wanted}
        stored = load_rollouts(self._host.state, found)
        self.rollouts = {name: self._keep_counts(name, rollout) for name, rollout in stored.items()}
        self._stored = stored
        self.wanted, self.unreadable, self._fingerprint = found, unreadable, fingerprint

    def _keep_counts(self, name: str, rollout: LocalRollout) -> LocalRollout:
        """Return a rollout that was read, with the requests that were counted after its file was written last."""
        stored, counted, state = self._stored.get(name), self.rollouts.get(name), rollout.state
        if stored is None or counted is None or (counted.before, counted.after) != (rollout.before, rollout.after):
            return rollout
        if not is_unsaved(stored.state, state):
            return replace(counted, state=replace(counted.state, audit=state.audit))
        if rollout.candidate is None:
            return rollout
        # A command began a step with the requests in the file.
        return replace(rollout, state=replace(state, counts=counted.state.counts.begin_step()))

    def _make_functions(self) -> None:
        """Create the activators of new and changed functions; those that were replaced are leaving."""
        for name, app in self.wanted.items():
            rollout, current = self.rollouts.get(name), self._splits.get(name)
            candidate, percent = (rollout.candidate, rollout.state.percent) if rollout else (None, 0)
            wanted = [app.function, candidate] if candidate else [app.function]
            known = current.activators if current else ()
            if current and current.percent == percent and [one.spec for one in known] == wanted:
                continue
            made = [self._activate(function, known, is_tried=function is candidate) for function in wanted]
            self._splits[name] = RequestSplit(made, percent, self._host.clock)
            self._leaving += [one for one in known if one not in made]

    def _activate(self, function: LocalFunction, known: Iterable[Activator], *, is_tried: bool) -> Activator:
        """Return the known activator of a function, or a new one."""
        if found := next((one for one in known if one.spec == function), None):
            return found
        _log.info("function %s: deployed with artifact %s", function.name, function.artifact)
        return Activator(function, self._host, is_tried=is_tried)

    def _subscribe(self) -> None:
        """Replace the broker's subscriptions when they have changed, or when the last `reconcile` failed."""
        subscriptions = {one.lane: one for app in self.wanted.values() for one in self._subscriptions(app)}
        keep = frozenset(self.unreadable.keys() - self.wanted.keys())
        if (subscriptions, keep) != self._subscribed:
            self._set_subscriptions(subscriptions, keep=keep)
            self._subscribed = subscriptions, keep
            self._publishers.reconcile(self.wanted.values())
        self._routed = frozenset(self.wanted)

    def _subscriptions(self, app: LocalApp) -> list[Subscription]:
        name = app.function.name
        made = [
            Subscription(
                app=name,
                trigger=trigger,
                send=self._build_send(app, trigger),
                parallel=URL_PARALLEL if trigger.url else capacity_of(app.function),
                site=app.function.site,
                relay=app.relay,
                sink=self._build_sink(app, trigger),
            )
            for trigger in app.triggers
        ]
        if app.relay.enabled:
            made.append(
                Subscription(
                    app=name,
                    trigger=build_relay_trigger(app),
                    send=lambda event, _: self._send_to_relay(name, event),
                    parallel=RELAY_PARALLEL,
                    site=app.function.site,
                    relay=app.relay,
                )
            )
        return made

    def _build_send(self, app: LocalApp, trigger: TriggerSpec) -> Send:
        timeout_s = trigger.delivery.timeout_s
        if trigger.needs_publisher:
            return lambda event, _: self._publishers.send(app, trigger, event)
        if trigger.url:
            return lambda event, headers: self._client.post(
                trigger.url, event, prefer_reply=True, timeout_s=timeout_s, more_headers=headers
            )
        return partial(self._send_to_function, trigger.function or app.function.name, timeout_s)

    def _build_sink(self, app: LocalApp, trigger: TriggerSpec) -> DeadLetterSink | None:
        target = find_dead_letter_target(trigger, app.triggers)
        if target is None:
            return None
        name = trigger.function or app.function.name
        return DeadLetterSink(
            target=target,
            send=self._build_send(app, target),
            give_address=lambda: redact(trigger.url) or self._address(name),
        )

    def _send_to_function(self, name: str, timeout_s: float, event: Event, headers: Mapping[str, str]) -> SinkResponse:
        try:
            return self.function(name).ask(
                lambda one, left_s: one.send(event, timeout_s=left_s, headers=headers), timeout_s
            )
        except StartError as error:  # nothing was sent: the event waits until the function can start
            raise UnreachableError(error.message, hint=error.hint) from error


def _stop(activator: Activator) -> None:
    try:
        activator.stop()
    except Exception:  # noqa: BLE001 - the others must be stopped too
        _log.exception("function %s can't be stopped", activator.spec.name)


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
