"""The embedded broker of the local platform.

An accepted event is on disk before it is acknowledged, and stays there for each matching trigger until that trigger's
subscriber has answered or the event is a dead letter. Replies are routed as new events. The rules are those of Knative:
attribute filters, retries by the status table, a reply routed once the event that caused it is acknowledged (here in
one transaction), and a time to live against loops. A dead letter is reported to the relay in the commit that makes it,
and kept: otherwise a full queue could never be emptied. One whose trigger has a dead letter sink moves to the sink's
lane instead, with the attributes that Knative's dispatcher adds, and is delivered like any event; retries never end.

Source: knative/eventing, pkg/kncloudevents/event_dispatcher.go, dispatchExecutionInfoTransformers, and
attributes/knative_error.go.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

from eaves.base.backoff import Backoff
from eaves.delivery import (
    AttemptResult,
    Deliverer,
    DeliveryOutcome,
    EventSender,
    LaneDelivery,
    SinkResponse,
)
from eaves.delivery.rejection import CODE, DATA, DESTINATION, build_refusal
from eaves.delivery.sinks import DATASET, find_scheme
from eaves.errors import NotFoundError
from eaves.events import IMAGE_REJECTED, Event, source_uri
from eaves.federation_events import KINDS
from eaves.local.broker.context import attach, build_headers, detach, pass_on
from eaves.platform import RELAY, AppSpec, RelaySpec, TriggerSpec
from eaves.platform.app import ALL, BROKER, NONE
from eaves.platform.triggers import matches_all
from eaves.spool import Entry, Puts, Selection, Spool
from eaves.spool.admin import dead_letter_lane, redrive

TRIGGER = "trigger"
"""First part of the name of a trigger's lane, before that of the app."""
SINK = "dead-letters"
"""First part of the name of the lane of a dead letter sink, before that of the app."""
REMOVED = "the trigger of this queue was removed"
"""Reason of dead letters whose trigger was removed. They are queued again when the trigger is deployed again."""
SINK_PARALLEL = 2
"""Maximum number of concurrent deliveries to one dead letter sink."""
MAX_DATA_BYTES = 768
"""Maximum size of the subscriber's response that a dead letter records, bytes: 1,024 characters of base64. Source:
KnativeErrorDataExtensionMaxLength."""
NO_ANSWER_CODE = 500
"""Status code that a dead letter records when the subscriber gave no response. Knative's dispatcher records the
same code."""

_log = logging.getLogger(__name__)

Send = Callable[[Event, Mapping[str, str]], SinkResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterSink:
    """Dead letter sink of one trigger.

    Attributes:
        target: Spec of a trigger whose subscriber is the sink, so that the sink is reached like a subscriber.
        send: Delivers one event to the sink, with additional HTTP headers for an HTTP sink.
        give_address: Returns the address of the subscriber to which the event could not be delivered.
    """

    target: TriggerSpec
    send: Send = field(compare=False)
    give_address: Callable[[], str] = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A trigger that the broker applies, and how its events are delivered to its subscriber.

    Retries to a sink, such as an MQTT broker, never end, because its responses say less than a function's, and its
    absence says nothing about an event (docs/events-out.md). Retries to the relay never end either, because it refuses
    events only while it is full.

    Attributes:
        app: Name of the app.
        trigger: The trigger, with its filter and delivery settings.
        send: Delivers one event to the subscriber, with additional HTTP headers for an HTTP subscriber.
        parallel: Number of concurrent deliveries.
        site: Name of the site.
        relay: Spec of the app's relay, which gets the events that a subscriber rejects unless there is a dead letter
            sink.
        sink: The trigger's dead letter sink; without one (None), dead letters are only kept in the spool.
    """

    app: str
    trigger: TriggerSpec
    send: Send = field(compare=False)
    parallel: int
    site: str = ""
    relay: RelaySpec = field(default_factory=RelaySpec)
    sink: DeadLetterSink | None = None

    @property
    def lane(self) -> str:
        """Lane of the trigger in the spool."""
        return lane_of(self.app, self.trigger.name)

    @property
    def sink_lane(self) -> str:
        """Lane of the trigger's dead letter sink."""
        return lane_of(self.app, self.trigger.name, SINK)

    def keeps_images_of(self, app: str) -> bool:
        """Whether the subscriber is a folder for images that the function of an app was asked about."""
        return self.app == app and find_scheme(self.trigger.url) == DATASET

    @property
    def is_relay(self) -> bool:
        """Whether the subscriber is the app's relay."""
        return self.relay.enabled and self.trigger.name == RELAY


def lane_of(app: str, trigger: str, kind: str = TRIGGER) -> str:
    """Return the spool lane of a trigger, or of its dead letter sink for the kind `SINK`."""
    return f"{kind}/{app}/{trigger}"


class Broker:
    """Accepts events and delivers them to subscribers.

    Args:
        spool: The durable queue.
        remember: Function that is called with each accepted event, without the broker's own attributes.
    """

    def __init__(self, spool: Spool, remember: Callable[[Event], None]) -> None:
        self._spool = spool
        self._remember = remember
        self._subscriptions: dict[str, Subscription] = {}
        self._deliverers: dict[str, tuple[Subscription, Deliverer]] = {}
        self.delivered: dict[str, int] = {}

    def accept(self, event: Event, trace: Mapping[str, str] = MappingProxyType({}), *, relay_of: str = "") -> None:
        """Accept an event: when this returns, it is on disk for every matching trigger.

        Args:
            event: The event.
            trace: Trace context of the event by HTTP header, which subscribers get.
            relay_of: App whose agent has asked its function about an image, and now sends what its relay gets: the
                prediction or the refusal, which triggers may want too, and perhaps the image, which of all triggers
                only those of this app get that keep images for labelling.

        Raises:
            SpoolFullError: When the spool is full; nothing was stored.
            EventError: When the event has looped until its time to live ended.
            NotFoundError: When a site's sums would reach no relay.
        """
        kept = attach(event, trace)
        lanes = self._lanes(event)
        if relay_of and event.is_image:  # its function has been asked
            lanes = tuple(lane for lane in lanes if self._subscriptions[lane].keeps_images_of(relay_of))
        if (relay := lane_of(relay_of, RELAY)) in self._subscriptions and relay not in lanes:
            lanes = (*lanes, relay)
        if event.type in KINDS:  # megabytes that only the cloud can use
            lanes = tuple(lane for lane in lanes if self._subscriptions[lane].is_relay)
            if not lanes:
                raise NotFoundError("no app with a relay takes sums", hint="POST to /relays/APP of an app with a relay")
        if lanes:
            self._spool.put(kept, lanes=lanes)
        elif "causeid" not in event.extensions:  # an agent's predictions need no trigger
            _log.info("no trigger matches events of type %s", event.type[:128])
        self._remember(detach(event))

    def subscribe(self, subscriptions: Mapping[str, Subscription], *, keep: Collection[str] = ()) -> None:
        """Replace all subscriptions by the given ones.

        Events in the lane of a removed trigger become dead letters, within the disk budget of dead letters, so that
        they take no room of the remaining apps. They are queued again when the trigger is deployed again.

        Args:
            subscriptions: Subscriptions by lane.
            keep: Apps whose triggers aren't known at present: their lanes are unchanged.
        """
        wanted = {**subscriptions, **{one.sink_lane: one for one in subscriptions.values() if one.sink is not None}}
        for lane in [lane for lane, (one, _) in self._deliverers.items() if wanted.get(lane) != one]:
            self._deliverers.pop(lane)[1].stop()
        self._subscriptions = dict(subscriptions)
        for lane in self._spool.counts():
            _, _, rest = lane.partition("/")
            if lane in wanted or rest.partition("/")[0] in keep:
                continue
            self.delivered.pop(lane, None)
            if count := dead_letter_lane(self._spool, lane, REMOVED):
                _log.warning("queue %s: %s; %d events are kept as dead letters", lane, REMOVED, count)
        for lane, one in wanted.items():
            if lane not in self._deliverers:
                self._deliverers[lane] = one, self._build_deliverer(lane, one)
                self._deliverers[lane][1].start()

    def _list_deliverers(self) -> list[Deliverer]:
        """Return a copy of the list of deliverers, which another thread may change while the caller reads it."""
        return [deliverer for _, deliverer in list(self._deliverers.values())]

    def deliveries(self) -> list[LaneDelivery]:
        """Return the delivery status of each lane."""
        return [deliverer.status() for deliverer in self._list_deliverers()]

    def try_now(self, lane: str) -> None:
        """Retry the deliveries of a lane now, even when they are paused; with an empty lane, those of every lane."""
        for deliverer in self._list_deliverers():
            if lane in ("", *deliverer.lanes):
                deliverer.try_now()

    def stop(self) -> None:
        """Finish deliveries in flight; other events stay in the spool."""
        for deliverer in self._list_deliverers():
            deliverer.stop()
        self._deliverers.clear()

    def _build_deliverer(self, lane: str, subscription: Subscription) -> Deliverer:
        """Build the deliverer of a trigger's lane or of its sink; queue again what was queued when it was removed."""
        redrive(self._spool, Selection(lane=lane, reason=REMOVED))
        backoff, sink = _build_backoff(subscription), subscription.sink
        if sink is not None and lane == subscription.sink_lane:
            sender = EventSender(partial(_send, sink.send), parallel=SINK_PARALLEL)
            return Deliverer(self._spool, lane, sender, backoff=replace(backoff, retry=None))
        reports = sink is None and subscription.relay.enabled
        return Deliverer(
            self._spool,
            lane,
            EventSender(partial(_send, subscription.send), parallel=subscription.parallel, on_reply=self._route),
            backoff=backoff,
            on_dead=None if sink is None else partial(self._pass_to_sink, subscription.sink_lane, sink),
            report_dead=partial(_report_to_relay, subscription) if reports else None,
            observe=self._count,
        )

    def _pass_to_sink(self, lane: str, sink: DeadLetterSink, entry: Entry, judged: AttemptResult) -> Puts:
        """Return a dead letter for the lane of its sink; none, so that it is kept, while too many wait there."""
        waiting_bytes = sum(one.queued_bytes for one in self._spool.lanes() if one.lane == lane)
        sinks = sum(one.sink is not None for one in self._subscriptions.values())
        if waiting_bytes * sinks > self._spool.limits.max_bytes / 2:  # the other half is for events that aren't dead
            _log.warning("queue %s is full: dead letter %s isn't sent to its sink", lane, entry.event.id[:64])
            return []
        return [(build_letter(entry.event, judged, sink.give_address()), (lane,))]

    def _count(self, entry: Entry, outcome: DeliveryOutcome, _: AttemptResult) -> None:
        if outcome is DeliveryOutcome.DELIVERED:
            self.delivered[entry.lane] = self.delivered.get(entry.lane, 0) + 1

    def _route(self, entry: Entry, reply: Event) -> Puts:
        """Return the reply of a subscriber, with the lanes of the triggers that match it.

        The caller stores both in the transaction that acknowledges the event which caused the reply. The reply has one
        hop less left than that event; at 0 it is dropped, because its triggers form a loop.
        """
        kept = pass_on(entry.event, reply)
        if kept is None:
            _log.error(
                "a reply to %s was dropped: it has passed through the broker too many "
                "times, so its triggers form a loop",
                entry.event.id[:64],
            )
            return []
        self._remember(detach(reply))
        lanes = self._lanes(reply)
        return [(kept, lanes)] if lanes else []

    def _lanes(self, event: Event) -> tuple[str, ...]:
        found = event.attributes()
        triggers = {lane: subscription.trigger for lane, subscription in self._subscriptions.items()}
        return tuple(lane for lane, one in triggers.items() if matches_all(found, one.filter, one.filters))


def build_letter(event: Event, judged: AttemptResult, address: str) -> Event:
    """Build the event for a sink: the dead letter with the destination, the status code and the response.

    Attributes of the same names that the event has already, as a dead letter of another broker, are kept.
    """
    answer = judged.answer.body if judged.answer is not None else f"dispatch error: {judged.reason}".encode()
    noted = {
        DESTINATION: address,
        CODE: str(judged.status or NO_ANSWER_CODE),
        DATA: base64.b64encode(answer[:MAX_DATA_BYTES]).decode(),
    }
    return event.with_extensions(
        **{name: value for name, value in noted.items() if value and not event.extensions.get(name)}
    )


def _send(send: Send, event: Event) -> SinkResponse:
    """Deliver an event without the attributes that the broker added to it."""
    return send(detach(event), build_headers(event))


def _build_backoff(subscription: Subscription) -> Backoff:
    delivery = subscription.trigger.delivery
    retry = None if subscription.trigger.needs_publisher or subscription.is_relay else delivery.retry
    return Backoff(retry=retry, first_s=delivery.backoff_s, cap_s=delivery.backoff_cap_s)


def _report_to_relay(subscription: Subscription, entry: Entry, judged: AttemptResult) -> Puts:
    """Return the events that tell the app's relay about a dead letter, as a Knative dead letter sink would get them.

    The caller stores them in the transaction that makes the dead letter.
    """
    if subscription.is_relay:
        return []
    event, lanes = detach(entry.event), (lane_of(subscription.app, RELAY),)
    found: list[tuple[Event, tuple[str, ...]]] = []
    if event.type != IMAGE_REJECTED:  # a subscriber's refusal of a rejection is not a second one
        by = subscription.trigger.name
        refusal = build_refusal(event, subscription.site, by=by, status=judged.status, reason=judged.reason)
        found.append((refusal, lanes))
    if subscription.relay.forward_images != NONE or not event.is_image:
        found.append((event, lanes))
    return found


def build_relay_trigger(app: AppSpec) -> TriggerSpec:
    """Build the trigger of an app's relay: every event of the function, and images that came through the broker."""
    through_broker = [source.name for source in app.sources if source.through == BROKER and app.relay.images == ALL]
    sources = [source_uri(app.function.site, name) for name in (app.function.name, *through_broker)]
    return TriggerSpec(name=RELAY, filters=({"any": [{"exact": {"source": one}} for one in sources]},))
